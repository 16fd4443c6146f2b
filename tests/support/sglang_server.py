"""A stand-in for SGLang 0.5.23."""

from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web

from openai_servers import Handler, Json, Refused, StandIn


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
