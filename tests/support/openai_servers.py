"""Stand-ins for servers that speak OpenAI's completions, each with its own habits.

Made from what vLLM 0.33.0, SGLang 0.5.23, llama.cpp and transformers 5.23 say of their routes; no
model runs behind them (`ToyModel`). Weights are a path, and what was computed of a prompt with
other weights stays in the prefix cache until somebody empties it, as it does there.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from toy_models import ToyModel

Json = dict[str, Any]

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

GREEDY = None


class Refused(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(status)
        self.response = web.json_response(body, status=status)


@dataclass
class StandIn:
    """What all of them have; ``calls`` are the routes that were asked, ``asked`` the completions."""

    model: ToyModel
    path: str
    owner = "somebody"
    max_model_len: int = 2048
    calls: list[str] = field(default_factory=list)
    asked: list[Json] = field(default_factory=list)
    prefix_cache: dict[tuple[int, ...], str] = field(default_factory=dict)

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._answer])
        app.router.add_get("/v1/models", self.models)
        app.router.add_post("/v1/completions", self.completions)
        for method, route, handler in self.routes():
            app.router.add_route(method, route, handler)
        return app

    def routes(self) -> Sequence[tuple[str, str, Handler]]:
        return ()

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.calls.append(request.path)
        try:
            return await handler(request)
        except Refused as refused:
            return refused.response

    def cards(self) -> list[Json]:
        return [{"id": self.path, "object": "model", "created": 0, "owned_by": self.owner}]

    async def models(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"object": "list", "data": self.cards()})

    async def completions(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        return web.json_response(self.complete(body))

    def complete(self, body: Json) -> Json:
        raise NotImplementedError

    def prompt_ids(self, prompt: Any) -> list[int]:
        return self.model.encode(prompt) if isinstance(prompt, str) else list(prompt)

    def draw(self, weights: str, ids: Sequence[int], seed: int | None, limit: int) -> tuple[Json, list[int]]:
        """A choice and its ids, by the weights that the prefix cache has of the prompt."""
        weights = self.prefix_cache.setdefault(tuple(ids), weights)
        drawn = self.model.draw(weights, ids, seed=seed, limit=limit)
        choice = {
            "text": self.model.decode(drawn.ids),
            "finish_reason": "stop" if drawn.ended else "length",
            "logprobs": {
                "token_logprobs": list(drawn.logprobs),
                "tokens": [str(token) for token in drawn.ids],
            },
        }
        return choice, list(drawn.ids)

    def seed_of(self, body: Json) -> int | None:
        return GREEDY if body.get("temperature") == 0.0 else body.get("seed", 4242)


_SAMPLING_FIELDS = {"frequency_penalty", "logit_bias", "presence_penalty", "seed", "temperature", "top_p"}

_OTHER_FIELDS = {"best_of", "echo", "logprobs", "max_tokens", "model", "n", "prompt", "stop", "stream"}

_RARE_FIELDS = {"generation_config", "stream_options", "suffix", "user"}

_COMPLETION_FIELDS = _SAMPLING_FIELDS | _OTHER_FIELDS | _RARE_FIELDS


@dataclass
class TransformersStandIn(StandIn):
    """``transformers serve``: text alone, one sample, and whatever directory a request names."""

    def routes(self) -> Sequence[tuple[str, str, Handler]]:
        return [("GET", "/openapi.json", self._description)]

    def cards(self) -> list[Json]:
        # It lists the cache of the hub, and breaks on a machine that has none.
        raise Refused(500, {"detail": "Cache directory not found"})

    def complete(self, body: Json) -> Json:
        strange = body.keys() - _COMPLETION_FIELDS
        if strange:
            raise Refused(422, {"detail": f"Unexpected fields in the request: {strange}"})
        if not isinstance(body["prompt"], str):
            raise Refused(400, {"detail": "prompt must be a string."})
        config = json.loads(body.get("generation_config") or "{}")
        seed = body.get("seed", 4242) if config.get("do_sample") else GREEDY
        ids = self.prompt_ids(body["prompt"])
        choice, drawn = self.draw(body["model"], ids, seed, body["max_tokens"])
        # That the limit was reached is tested first.
        reason = "length" if len(drawn) >= body["max_tokens"] else "stop"
        return {
            "id": "1",
            "object": "text_completion",
            "created": 0,
            "model": f"{body['model']}@main",
            "choices": [{"index": 0, "text": choice["text"], "finish_reason": reason}],
            "usage": {"prompt_tokens": len(ids), "completion_tokens": len(drawn), "total_tokens": 0},
        }

    async def _description(self, request: web.Request) -> web.StreamResponse:
        routes = ("/v1/chat/completions", "/v1/completions", "/load_model", "/reset", "/v1/models", "/health")
        return web.json_response({"openapi": "3.1.0", "paths": {route: {} for route in routes}})


@dataclass
class LlamaCppStandIn(StandIn):
    """llama.cpp's server: one model, which answers under any name, and gives text alone."""

    owner = "llamacpp"
    alias: str = "model.gguf"

    def cards(self) -> list[Json]:
        return [
            {
                "id": self.alias,
                "object": "model",
                "created": 0,
                "owned_by": "llamacpp",
                "meta": {"n_vocab": 400},
            }
        ]

    def complete(self, body: Json) -> Json:
        ids = self.prompt_ids(body["prompt"])
        choice, drawn = self.draw(self.path, ids, self.seed_of(body), body["max_tokens"])
        return {
            "id": "1",
            "object": "text_completion",
            "model": body.get("model", self.alias),
            "choices": [
                {
                    "index": 0,
                    "text": choice["text"],
                    "logprobs": None,
                    "finish_reason": choice["finish_reason"],
                }
            ],
            "usage": {"prompt_tokens": len(ids), "completion_tokens": len(drawn), "total_tokens": 0},
        }
