"""``python -m selfie.publish --parameters FILE``."""

import sys

from selfie.artifacts.programs import run_program
from selfie.publish.program import publish_checkpoint
from selfie.rpc.logs import configure

if __name__ == "__main__":
    configure("publish")
    sys.exit(run_program(publish_checkpoint))
