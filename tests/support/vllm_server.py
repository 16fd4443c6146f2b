"""A stand-in for vLLM 0.33.0, development mode among it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from aiohttp import web

from openai_servers import Handler, Json, Refused, StandIn


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
