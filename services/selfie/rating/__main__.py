"""``python -m selfie.rating --parameters FILE``."""

import sys

from selfie.artifacts.programs import run_program
from selfie.rating.program import rate
from selfie.rpc.logs import configure

if __name__ == "__main__":
    configure("rating")
    sys.exit(run_program(rate))
