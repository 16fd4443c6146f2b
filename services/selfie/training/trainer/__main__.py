"""``python -m selfie.training.trainer --parameters FILE``: one training, as a process of its own."""

import sys
from collections.abc import Callable, Sequence
from functools import partial

from selfie.artifacts.programs import run_program
from selfie.rpc.logs import configure
from selfie.training.trainer.peers import part
from selfie.training.trainer.program import train


def main(arguments: Sequence[str] | None = None) -> int:
    """Trains and publishes; the checkpoints go when the result is there."""
    unneeded: list[Callable[[], None]] = []
    status = part(run_program(partial(train, discard=unneeded.append), arguments))
    for remove in unneeded if status == 0 else []:
        remove()
    return status


if __name__ == "__main__":
    configure("trainer")
    sys.exit(main())
