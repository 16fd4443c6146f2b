"""``python tgi_program.py --model-id DIRECTORY``: the stand-in for TGI as a process, until SIGTERM.

It samples from the directory's name, so that a response tells which weights its engine was started with.
"""

import argparse
from pathlib import Path

from aiohttp import web

from tgi_server import TgiStandIn
from toy_models import ToyModel


def main() -> None:
    """Serves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model-id", required=True, help="directory of the weights")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--slow-s", type=float, default=0.0, help="what a generation takes")
    options = parser.parse_args()
    standin = TgiStandIn(ToyModel(Path(options.model_id)), options.model_id, max_concurrent_requests=8)
    standin.faults.slow_s = options.slow_s
    web.run_app(standin.application(), port=options.port, print=None)


if __name__ == "__main__":
    main()
