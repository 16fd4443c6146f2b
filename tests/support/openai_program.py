"""``python openai_program.py --model DIRECTORY``: the stand-in for vLLM as a process, until SIGTERM.

It samples from the name of the directory that it has loaded last, so that a response tells which weights
its engine had. It tells no log-probabilities: made-up ones would be held against the scorer's.
"""

import argparse
import asyncio
from pathlib import Path

from aiohttp import web

from openai_servers import Json
from toy_models import ToyModel
from vllm_server import VllmStandIn


class Slow(VllmStandIn):
    """Takes its time for what it samples."""

    slow_s = 0.0

    async def completions(self, request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(self.slow_s)
        return await super().completions(request)

    def complete(self, body: Json) -> Json:
        return super().complete({name: value for name, value in body.items() if name != "logprobs"})


def main() -> None:
    """Serves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="directory of the weights")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--slow-s", type=float, default=0.0, help="what an answer takes")
    options = parser.parse_args()
    standin = Slow(ToyModel(Path(options.model)), options.model)
    standin.slow_s = options.slow_s
    application = standin.application()
    application.router.add_get("/health", _health)
    web.run_app(application, port=options.port, print=None)


async def _health(_request: web.Request) -> web.StreamResponse:
    return web.Response()


if __name__ == "__main__":
    main()
