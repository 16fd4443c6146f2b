"""A stand-in for Text Generation Inference 3.3.7 that is as strict as the real one.

It was made from TGI's OpenAPI description and from what its source does beyond it; no model runs
behind it (`ToyModel`). A test can make it fail as the real one does: see `Faults`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tgi_requests import CHUNK, Refused, check, error, is_sampled, read, require
from toy_models import Drawn, ToyModel

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Faults:
    """What goes wrong next: each number counts down as it happens.

    ``overloaded``: refused as if no permit were free. ``shard``: the shard dies, which fails
    every request that is under way and makes it unhealthy until ``revive``. ``incomplete``: the
    generation ends without an answer. ``reset``: the connection is cut. ``slow_s``: what a
    generation takes.
    """

    overloaded: int = 0
    shard: int = 0
    incomplete: int = 0
    reset: int = 0
    slow_s: float = 0.0


@dataclass
class TgiStandIn:
    """One server; ``model_id`` is what it was started with, and whose samples it gives.

    ``eos_in_list`` False is a generation_config whose end token is a number, which TGI ignores:
    then the tokenizer's own end token ends a turn, here none that the model ever draws.
    """

    model: ToyModel
    model_id: str
    max_concurrent_requests: int = 128
    max_input_tokens: int = 1024
    max_total_tokens: int = 4096
    api_key: str | None = None
    eos_in_list: bool = True
    faults: Faults = field(default_factory=Faults)
    healthy: bool = True
    generations: list[dict[str, Any]] = field(default_factory=list)
    tokenized: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    most_at_once: int = 0
    cancelled: int = 0
    _under_way: set["asyncio.Future[None]"] = field(default_factory=set)

    def application(self) -> web.Application:
        """The routes that are stood in for."""
        app = web.Application(client_max_size=2**30, middlewares=[self._keep_headers])
        app.router.add_get("/health", self._health)
        app.router.add_get("/info", self._info)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/tokenize", self._guarded(self._tokenize))
        app.router.add_post("/generate", self._guarded(self._generate))
        return app

    @web.middleware
    async def _keep_headers(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        return await handler(request)

    def _guarded(self, handler: Handler) -> Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            wanted = None if self.api_key is None else f"bearer {self.api_key}".lower()
            if wanted is not None and request.headers.get("authorization", "").lower() != wanted:
                return web.Response(status=401)
            try:
                return await handler(request)
            except Refused as refused:
                return refused.response

        return guarded

    async def _health(self, request: web.Request) -> web.StreamResponse:
        if not self.healthy:
            return error(503, "unhealthy", "healthcheck")
        return web.Response()

    async def _info(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(
            {
                "model_id": self.model_id,
                "model_sha": None,
                "model_pipeline_tag": None,
                "max_concurrent_requests": self.max_concurrent_requests,
                "max_best_of": 2,
                "max_stop_sequences": 4,
                "max_input_tokens": self.max_input_tokens,
                "max_total_tokens": self.max_total_tokens,
                "validation_workers": 2,
                "max_client_batch_size": 4,
                "router": "text-generation-router",
                "version": "3.3.6-dev0",
                "sha": None,
                "docker_label": None,
            }
        )

    async def _models(self, request: web.Request) -> web.StreamResponse:
        card = {"id": self.model_id, "object": "model", "created": 0, "owned_by": self.model_id}
        return web.json_response({"object": "list", "data": [card]})

    async def _tokenize(self, request: web.Request) -> web.StreamResponse:
        inputs, _ = await read(request)
        self.tokenized.append(inputs)
        found = self.model.tokenizer.encode(inputs, add_special_tokens=True)
        return web.json_response(
            [
                {"id": token, "text": inputs[start:stop], "start": start, "stop": stop}
                for token, (start, stop) in zip(found.ids, found.offsets, strict=True)
            ]
        )

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        inputs, parameters = await read(request)
        if self.faults.reset > 0:
            self.faults.reset -= 1
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if self.faults.overloaded > 0 or len(self._under_way) >= self.max_concurrent_requests:
            self.faults.overloaded = max(self.faults.overloaded - 1, 0)
            return error(429, "Model is overloaded", "overloaded")
        prompt_ids = self._validated(inputs, parameters)
        self.generations.append({"inputs": inputs, "parameters": parameters})
        async with self._permit() as shard:
            if self.faults.shard > 0:
                self.faults.shard -= 1
                self._die()
            await self._work(shard)
            if self.faults.incomplete > 0:
                self.faults.incomplete -= 1
                return error(500, "Incomplete generation", "incomplete_generation")
            return web.json_response(self.answer(inputs, prompt_ids, parameters))

    @asynccontextmanager
    async def _permit(self):
        shard: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._under_way.add(shard)
        self.most_at_once = max(self.most_at_once, len(self._under_way))
        try:
            yield shard
        except asyncio.CancelledError:
            # The client has closed the connection; the real one stops at its next step too.
            self.cancelled += 1
            raise
        finally:
            self._under_way.discard(shard)

    async def _work(self, shard: "asyncio.Future[None]") -> None:
        try:
            async with asyncio.timeout(self.faults.slow_s or 0.001):
                await shard
        except TimeoutError:
            return
        except RuntimeError as error:
            message = f"Request failed during generation: Server error: {error}"
            raise Refused(error(424, message, "generation")) from error

    def _die(self) -> None:
        self.healthy = False
        for shard in self._under_way:
            if not shard.done():
                shard.set_exception(RuntimeError("CUDA out of memory"))

    def revive(self) -> None:
        """The pod has started again."""
        self.healthy = True

    def _validated(self, inputs: str, parameters: dict[str, Any] | None) -> list[int]:
        given = parameters or {}
        check(inputs, given, max_input_tokens=self.max_input_tokens)
        ids = self.model.encode(inputs)
        truncate, new = given.get("truncate"), given.get("max_new_tokens")
        ids = ids if truncate is None else ids[-truncate:]
        first = min(self.max_total_tokens - len(ids), CHUNK) if new is None else new
        require(
            len(ids) + first <= self.max_total_tokens,
            f"`inputs` tokens + `max_new_tokens` must be <= {self.max_total_tokens}. Given: {len(ids)} "
            f"`inputs` tokens and {first} `max_new_tokens`",
        )
        require(
            len(ids) <= self.max_input_tokens,
            f"`inputs` must have less than {self.max_input_tokens} tokens. Given: {len(ids)}",
        )
        return ids

    def answer(self, inputs: str, prompt_ids: list[int], parameters: dict[str, Any] | None) -> dict[str, Any]:
        """A generation's answer; without parameters it samples, with empty ones it does not."""
        given = {"do_sample": True} if parameters is None else parameters
        seed = (given.get("seed") or 4242) if is_sampled(given) else None
        limit = given.get("max_new_tokens") or self.max_total_tokens - len(prompt_ids)
        drawn = self._drawn(prompt_ids, seed, limit)
        text = self.model.decode(drawn.ids)
        # What ends inside a character is never let out.
        text = "" if text.endswith("\ufffd") else text
        answer: dict[str, Any] = {"generated_text": (inputs if given.get("return_full_text") else "") + text}
        if given.get("details") or given.get("decoder_input_details"):
            answer["details"] = self._details(drawn, seed, limit, given)
        if (given.get("best_of") or 1) > 1 and "details" in answer:
            other = self._details(drawn, seed, limit, given) | {"generated_text": text}
            answer["details"]["best_of_sequences"] = [other]
        return answer

    def _drawn(self, prompt_ids: list[int], seed: int | None, limit: int) -> Drawn:
        model, found = self.model, Drawn((), (), ended=False)
        if not self.eos_in_list:
            model = ToyModel.__new__(ToyModel)
            model.__dict__.update(self.model.__dict__, end_chance=0.0)
            model.tokens = [*self.model.tokens, *[self.model.end_id] * (len(self.model.tokens) // 4)]
        while not found.ended and len(found.ids) < limit:
            # A longer one is asked for again with what is there, and the limit is not what is left of it.
            more = model.draw(self.model_id, [*prompt_ids, *found.ids], seed=seed, limit=min(limit, CHUNK))
            found = Drawn(found.ids + more.ids, found.logprobs + more.logprobs, ended=more.ended)
        return found

    def _details(self, drawn: Drawn, seed: int | None, limit: int, given: dict[str, Any]) -> dict[str, Any]:
        tokens = [
            {
                "id": token,
                "text": self.model.decode([token]),
                "logprob": logprob,
                "special": token not in self.model.tokens,
            }
            for token, logprob in zip(drawn.ids, drawn.logprobs, strict=True)
        ]
        # The test of the length comes first.
        reason = "length" if len(drawn.ids) >= limit or not drawn.ended else "eos_token"
        counted = {"generated_tokens": len(drawn.ids), "prefill": [], "tokens": tokens}
        details = {"finish_reason": reason, "seed": seed, **counted}
        if given.get("top_n_tokens"):
            details["top_tokens"] = [[token] for token in tokens]
        return details
