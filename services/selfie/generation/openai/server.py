"""One server that speaks OpenAI's completions, at one address."""

import asyncio
from collections.abc import Sequence
from typing import Any

from selfie.errors import FailedPrecondition, Unavailable
from selfie.generation.engines import EngineIdentity, Sample
from selfie.generation.fleet.servers import Look, Wanted
from selfie.generation.http.clients import Access, Address, JsonServer
from selfie.generation.openai import handover, identities
from selfie.generation.openai.answers import (
    Completion,
    ModelCard,
    ModelList,
    parsed,
    require_name,
    samples_of,
)
from selfie.generation.openai.capabilities import Capabilities, ask_capabilities
from selfie.generation.openai.identities import Told
from selfie.generation.openai.kinds import PLAIN, TRANSFORMERS, Kind, kind_by_owner, kind_by_routes
from selfie.generation.openai.requests import completion_body, seeds_for

_COMPLETIONS = "/v1/completions"
_MOST_SAMPLES = 64


class OpenAIServer:
    """Answers for one server.

    ``model`` is the name to ask for: empty for the one that it has, or with ``{digest}`` in it
    where each policy is asked for by a name of its own. ``permits`` is how many requests it gets
    at once, which such servers do not tell.
    """

    def __init__(self, address: Address, access: Access, *, model: str = "", permits: int = 64) -> None:
        self.where = address.url
        self._server = JsonServer(address, access)
        self._model = model
        self._permits = permits
        self._kind: Kind | None = None
        self._told = Told("")
        self._can: Capabilities | None = None
        self._asking = asyncio.Lock()

    @property
    def most_seeds(self) -> int:
        """Many where each has a seed of its own, else one."""
        many = self._kind is not None and self._kind.seeds_count_up
        return _MOST_SAMPLES if many and self._can is not None and self._can.gives_many else 1

    async def look(self) -> Look:
        """Who it is, from what it tells of its models and weights."""
        try:
            return await self._look()
        except Unavailable:
            # What comes back at this address may be another server.
            self._kind = self._can = None
            raise

    async def _look(self) -> Look:
        named = "{digest}" in self._model
        cards = await self._cards(named=named)
        if self._kind is None:
            self._kind = kind_by_owner(cards) or kind_by_routes(await self._routes())
        if named and not self._kind.loads_by_name:
            raise FailedPrecondition(
                "WeightsUnproven",
                f"{self.where} ({self._kind.name}) answers to any name, so a name proves no weights; leave "
                "--engine-model out, and serve the checkpoint from a directory named by its digest",
            )
        self._told = await identities.tell(self._server, self._kind, cards, "" if named else self._model)
        identity = EngineIdentity(
            weights_digest="" if named else self._told.weights_digest,
            tokenizer_digest="",
            max_context_tokens=self._told.max_context_tokens,
            precision="unknown",
            engine=self._told.engine or self._kind.name,
        )
        return Look(identity, self._permits, named_by_request=named, moving=self._told.moving)

    async def check_prompt(self, wanted: Wanted) -> None:
        """Nothing is asked for where it takes ids; its count of a text's tokens comes with the answer."""
        can = await self._capabilities(self._name(wanted))
        if not can.takes_ids:
            # Raises for a prompt that is no text.
            _ = wanted.text

    async def draw(self, wanted: Wanted, seeds: Sequence[int]) -> list[Sample]:
        """One completion, with as many choices as there are seeds."""
        model, kind = self._name(wanted), await self._known_kind()
        can = await self._capabilities(model)
        given = seeds_for(kind, seeds)
        completion = await self._complete(completion_body(kind, can, model, wanted, given))
        if "{digest}" in self._model:
            require_name(completion, model, self.where)
        return samples_of(completion, wanted, given, f"{self.where}{_COMPLETIONS}")

    async def load(self, directory: str, weights_digest: str) -> None:
        """Moves it to other weights in place, if it is a kind that can."""
        await handover.load(
            self._server, await self._known_kind(), directory, weights_digest, by_name=self._model
        )

    async def close(self) -> None:
        """Closes its connections."""
        await self._server.close()

    async def _known_kind(self) -> Kind:
        if self._kind is None:
            await self.look()
        return self._kind or PLAIN

    def _name(self, wanted: Wanted) -> str:
        if "{digest}" not in self._model:
            return self._told.model
        digest = wanted.policy.weights_digest
        if not digest:
            raise FailedPrecondition(
                "WeightsUnproven", f"{self.where} is asked for weights by name, and none were named"
            )
        return self._model.replace("{digest}", digest)

    async def _capabilities(self, model: str) -> Capabilities:
        async with self._asking:
            if self._can is None:
                self._can = await ask_capabilities(self._complete, model)
            return self._can

    async def _complete(self, body: dict[str, Any]) -> Completion:
        where = f"{self.where}{_COMPLETIONS}"
        return parsed(Completion, await self._server.post(_COMPLETIONS, body, slow=True), where)

    async def _cards(self, *, named: bool) -> list[ModelCard]:
        """Its models; one that loads what a request names lists others, or fails to list any."""
        if named and self._kind is None and kind_by_routes(await self._routes()) is TRANSFORMERS:
            self._kind = TRANSFORMERS
        if named and self._kind is TRANSFORMERS:
            return []
        return parsed(ModelList, await self._server.get("/v1/models"), f"{self.where}/v1/models").data

    async def _routes(self) -> list[str]:
        """Routes of the server's description; none of one that has none."""
        try:
            description = await self._server.get("/openapi.json")
        except FailedPrecondition:
            return []
        paths = description.get("paths") if isinstance(description, dict) else None
        return list(paths) if isinstance(paths, dict) else []
