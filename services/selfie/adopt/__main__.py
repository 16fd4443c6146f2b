"""``python -m selfie.adopt --parameters FILE``."""

import sys

from selfie.adopt.program import adopt
from selfie.artifacts.programs import run_program
from selfie.rpc.logs import configure

if __name__ == "__main__":
    configure("adopt")
    sys.exit(run_program(adopt))
