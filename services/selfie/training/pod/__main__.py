"""``python -m selfie.training.pod``: the first process of a training Job's pod."""

import argparse
import sys
from collections.abc import Sequence
from typing import get_args

from selfie.artifacts.store import open_store
from selfie.rpc.logs import configure
from selfie.runs.programs import ProgramName
from selfie.training.pod.duty import Duty
from selfie.training.pod.serving import Pod, serve
from selfie.training.pod.supervision import ending_on_sigterm


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what the Job says; returns the program's exit status."""
    parser = argparse.ArgumentParser(description="The first process of a training Job's pod.")
    parser.add_argument("--program", required=True, choices=get_args(ProgramName))
    parser.add_argument("--run-uri", required=True, help="root of the run in the artifact store")
    parser.add_argument("--step", required=True, help="step within the run, such as rounds/01/train")
    parser.add_argument("--attempt", required=True, type=int, help="number of the attempt")
    parser.add_argument("--parameters-sha256", required=True, help="digest of the attempt's parameters")
    parser.add_argument("--nodes", type=int, default=1, help="pods that work together")
    parser.add_argument("--ranks", type=int, default=1, help="processes in each of them")
    parser.add_argument("--main", default="", metavar="HOST:PORT", help="where the first pod is found")
    duty = Duty(**vars(parser.parse_args(arguments)))
    return serve(open_store(duty.run_uri), duty, Pod.of_this_process())


if __name__ == "__main__":
    # The kernel passes over a signal to a container's first process that it has no handler for.
    with ending_on_sigterm():
        configure("pod")
        sys.exit(main())
