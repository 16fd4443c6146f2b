"""One server of Text Generation Inference, at one address.

Generation goes through `huggingface_hub`, the client that is kept by TGI's own makers; the short
questions, which it does not know, through a pool of our own (docs/design/2026-11-21-tgi-client.md).
"""

from collections.abc import Sequence
from typing import Any

import httpx2

from selfie.errors import FailedPrecondition, SelfieError, Unavailable
from selfie.generation.answers import require_same_ids, sample_of_ids
from selfie.generation.engines import Sample
from selfie.generation.fleet.servers import Look, Wanted
from selfie.generation.http import failures
from selfie.generation.http.clients import Access, Address, JsonServer, deadline, plain_client
from selfie.generation.tgi.answers import generation_arguments, ids_of, look_of, sampled_ids

# The library takes a token from the machine's own cache where it is given none.
_NO_TOKEN = "none"  # noqa: S105


class TgiServer:
    """Answers for one TGI server; it samples once a request, because it has no ``n``."""

    most_seeds = 1

    def __init__(self, address: Address, access: Access) -> None:
        # Imported here, because services that front another engine need not have it.
        from huggingface_hub import AsyncInferenceClient, set_async_client_factory

        self.where = address.url
        self._server = JsonServer(address, access)
        self._timeout_s = access.timeout_s
        self._known_to_be_healthy = False
        # Its own sessions refuse to speak to anybody once HF_HUB_OFFLINE is set.
        set_async_client_factory(plain_client)
        self._generation = AsyncInferenceClient(
            model=f"{address.url}/generate",
            token=access.api_key or _NO_TOKEN,
            headers=access.headers(address),
            timeout=access.timeout,
        )

    async def look(self) -> Look:
        """Who it is; the first time, and after it has failed, also whether it is well."""
        try:
            if not self._known_to_be_healthy:
                await self._server.get("/health")
            look = look_of(await self._server.get("/info"), self.where)
        except BaseException:
            self._known_to_be_healthy = False
            raise
        self._known_to_be_healthy = True
        return look

    async def check_prompt(self, wanted: Wanted) -> None:
        """Compares the ids of ``/tokenize`` with the prompt's own."""
        # Before anything is asked: these can't be had of it at all.
        generation_arguments(wanted.parameters, seed=0)
        answer = await self._server.post("/tokenize", {"inputs": wanted.text})
        require_same_ids(wanted.prompt_ids, ids_of(answer, self.where), self.where)

    async def draw(self, wanted: Wanted, seeds: Sequence[int]) -> list[Sample]:
        """One generation."""
        [seed] = seeds
        where = f"{self.where}/generate"
        details = await self._generate(wanted, seed, where)
        found = sampled_ids(details, seed, where)
        return [sample_of_ids(found, wanted.parameters.max_new_tokens, wanted.tokenizer)]

    async def load(self, directory: str, weights_digest: str) -> None:
        """Refuses: it serves the weights that it was started with."""
        raise FailedPrecondition(
            "CannotReload",
            f"{self.where} is TGI, which can't load {weights_digest}; start it anew with {directory}",
        )

    async def close(self) -> None:
        """Closes its connections."""
        await self._generation.close()
        await self._server.close()

    async def _generate(self, wanted: Wanted, seed: int, where: str) -> Any:
        arguments = generation_arguments(wanted.parameters, seed)
        async with deadline(self._timeout_s, where):
            try:
                return (await self._generation.text_generation(wanted.text, **arguments)).details
            except httpx2.HTTPError as error:
                raise self._meaning(error, where) from error
            except (AttributeError, LookupError, TypeError, ValueError) as error:
                raise failures.unusable(where, "an answer that is no generation") from error

    def _meaning(self, error: httpx2.HTTPError, where: str) -> SelfieError:
        """The library has errors of its own for what TGI says; its answer is on them or behind them."""
        for found in (error, error.__cause__):
            response = getattr(found, "response", None)
            if isinstance(response, httpx2.Response):
                meant = failures.refused(response, where)
                break
        else:
            meant = failures.broken(error, where)
        if isinstance(meant, Unavailable):
            self._known_to_be_healthy = False
        return meant
