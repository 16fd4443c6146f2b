"""``python -m selfie.training.trainer --parameters FILE``: one training, as a process of its own."""

import shutil
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from selfie.artifacts.programs import run_program
from selfie.rpc.logs import configure
from selfie.training.trainer.program import train


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains and publishes; the checkpoints go when the result is there."""
    unneeded: list[Path] = []
    status = run_program(partial(train, discard=unneeded.append), arguments)
    for directory in unneeded if status == 0 else []:
        shutil.rmtree(directory)
    return status


if __name__ == "__main__":
    configure("trainer")
    sys.exit(main())
