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


def _vllm_error(status: int, message: str, kind: str = "BadRequestError") -> Refused:
    return Refused(status, {"error": {"message": message, "type": kind, "param": None, "code": status}})


@dataclass
class VllmStandIn(StandIn):
    """vLLM; ``version`` is its label for the weights, ``fails_at`` a route that breaks."""

    owner = "vllm"
    dev_mode: bool = True
    version: str = "default"
    loaded: str = ""
    paused: bool = False
    adapters: dict[str, str] = field(default_factory=dict)
    fails_at: str = ""
    label_in_answers: str | None = None

    def __post_init__(self) -> None:
        self.loaded = self.path

    def routes(self) -> Sequence[tuple[str, str, Handler]]:
        always = [
            ("GET", "/version", self._version),
            ("POST", "/v1/load_lora_adapter", self._load_adapter),
            ("POST", "/v1/unload_lora_adapter", self._unload_adapter),
        ]
        development = [
            ("POST", "/pause", self._pause),
            ("POST", "/resume", self._resume),
            ("POST", "/collective_rpc", self._rpc),
            ("POST", "/reset_prefix_cache", self._reset),
            ("POST", "/update_weight_version", self._label),
            ("GET", "/weight_info", self._weight_info),
        ]
        return always + (development if self.dev_mode else [])

    def cards(self) -> list[Json]:
        base = {"id": self.path, "owned_by": "vllm", "root": self.path, "parent": None}
        adapters = [
            {"id": name, "owned_by": "vllm", "root": path, "parent": self.path}
            for name, path in self.adapters.items()
        ]
        return [base | {"max_model_len": self.max_model_len}, *adapters]

    def complete(self, body: Json) -> Json:
        if self.paused:
            raise _vllm_error(503, "Generation is paused", "ServiceUnavailableError")
        if body["model"] not in {card["id"] for card in self.cards()}:
            raise _vllm_error(404, f"The model `{body['model']}` does not exist.", "NotFoundError")
        seed, n = self.seed_of(body), body.get("n", 1)
        if seed is not None and not -(2**63) <= seed <= 2**63 - n:
            raise _vllm_error(400, "seed: Input should be less than or equal to 9223372036854775807")
        ids = self.prompt_ids(body["prompt"])
        if len(ids) + body["max_tokens"] > self.max_model_len:
            raise _vllm_error(400, f"This model's maximum context length is {self.max_model_len} tokens.")
        weights = self.adapters.get(body["model"], self.loaded)
        choices = [self._choice(body, weights, ids, seed, index) for index in range(n)]
        return {
            "id": "cmpl-1",
            "object": "text_completion",
            "created": 0,
            "model": body["model"],
            "choices": list(reversed(choices)),
            "usage": {"prompt_tokens": len(ids), "total_tokens": 0, "completion_tokens": 0},
        }

    def _choice(self, body: Json, weights: str, ids: list[int], seed: int | None, index: int) -> Json:
        choice, drawn = self.draw(weights, ids, seed if seed is None else seed + index, body["max_tokens"])
        label = self.label_in_answers or self.version
        spans = [{"version": label, "start": 0, "end": len(drawn)}]
        return choice | {
            "index": index,
            "stop_reason": None,
            "logprobs": choice["logprobs"] if body.get("logprobs") is not None else None,
            "token_ids": drawn if body.get("return_token_ids") else None,
            "prompt_token_ids": ids if body.get("return_token_ids") else None,
            "weight_versions": spans if body.get("return_weight_versions") else None,
        }

    async def _version(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"version": "0.33.0"})

    async def _pause(self, request: web.Request) -> web.StreamResponse:
        assert request.query["mode"] == "wait"
        self.paused = True
        return web.json_response({"status": "paused"})

    async def _resume(self, request: web.Request) -> web.StreamResponse:
        self.paused = False
        return web.json_response({"status": "resumed"})

    async def _rpc(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        assert body["method"] == "reload_weights"
        if self.fails_at == "/collective_rpc":
            raise _vllm_error(500, "CUDA out of memory", "InternalServerError")
        self.loaded = body["kwargs"]["weights_path"]
        return web.json_response({"results": [None]})

    async def _reset(self, request: web.Request) -> web.StreamResponse:
        if self.fails_at == "/reset_prefix_cache":
            return web.json_response({"success": False})
        self.prefix_cache.clear()
        return web.json_response({"success": True})

    async def _label(self, request: web.Request) -> web.StreamResponse:
        self.version = (await request.json())["new_version"]
        return web.json_response({"success": True, "new_version": self.version})

    async def _weight_info(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"weight_version": self.version})

    async def _load_adapter(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if body["lora_name"] in self.adapters:
            raise _vllm_error(400, "The lora adapter has already been loaded.", "InvalidUserInput")
        self.adapters[body["lora_name"]] = body["lora_path"]
        return web.Response(text="Success: LoRA adapter added successfully.")

    async def _unload_adapter(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if self.adapters.pop(body["lora_name"], None) is None:
            raise _vllm_error(404, "The lora adapter cannot be found.", "NotFoundError")
        return web.Response(text="Success: LoRA adapter removed successfully.")


@dataclass
class SglangStandIn(StandIn):
    """SGLang with deterministic inference: the samples of one request share its seed."""

    owner = "sglang"
    version: str = "default"
    fails: bool = False

    def routes(self) -> Sequence[tuple[str, str, Handler]]:
        return [
            ("GET", "/model_info", self._model_info),
            ("POST", "/update_weights_from_disk", self._update),
            ("POST", "/update_weight_version", self._label),
        ]

    def cards(self) -> list[Json]:
        card = {"id": self.path, "owned_by": "sglang", "root": self.path, "parent": None}
        return [card | {"max_model_len": self.max_model_len}]

    def complete(self, body: Json) -> Json:
        seed, ids = self.seed_of(body), self.prompt_ids(body["prompt"])
        if seed is not None and not -(2**63) <= seed <= 2**63 - 1:
            raise Refused(400, {"object": "error", "message": "sampling_seed must be in [-2**63, 2**63 - 1]"})
        choices = []
        for index in range(body.get("n", 1)):
            choice, drawn = self.draw(self.path, ids, seed, body["max_tokens"])
            if body.get("logprobs") is None:
                choice["logprobs"] = None
            extra = {"token_ids": drawn, "prompt_token_ids": ids} if body.get("return_token_ids") else {}
            choices.append(choice | {"index": index, "matched_stop": None} | extra)
        return {
            "id": "1",
            "object": "text_completion",
            "created": 0,
            "model": body["model"],
            "choices": choices,
            "usage": {"prompt_tokens": len(ids), "total_tokens": 0, "completion_tokens": 0},
            "metadata": {"weight_version": self.version},
        }

    async def _model_info(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(
            {"model_path": self.path, "weight_version": self.version, "is_generation": True}
        )

    async def _update(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if self.fails:
            answer = {"success": False, "message": "Failed to get weights iterator", "num_paused_requests": 0}
            return web.json_response(answer, status=400)
        self.path = body["model_path"]
        self.version = body.get("weight_version") or self.version
        if body.get("flush_cache", True):
            self.prefix_cache.clear()
        return web.json_response({"success": True, "message": "Succeeded", "num_paused_requests": 0})

    async def _label(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        assert body.get("abort_all_requests", True) is False, (
            "it aborts what is under way unless it is told not to"
        )
        self.version = body["new_version"]
        return web.json_response({"success": True, "message": "", "new_version": self.version})


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
