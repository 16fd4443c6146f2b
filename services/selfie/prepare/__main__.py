"""``python -m selfie.prepare --parameters FILE``."""

import sys

from selfie.artifacts.programs import run_program
from selfie.prepare.program import prepare
from selfie.rpc.logs import configure

if __name__ == "__main__":
    configure("prepare")
    sys.exit(run_program(prepare))
