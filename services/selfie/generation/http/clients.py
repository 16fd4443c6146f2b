"""Pooled HTTP clients, which send nothing but what was asked for.

No proxy or credentials are taken from the environment, no redirect is followed, and a request
carries the key that was given for this engine or none.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2

from selfie.errors import Unavailable
from selfie.generation.http import failures
from selfie.tracing.attempts import traceparent

# Connections to an engine that is gone are given up at once; answers may take their time.
CONNECT_TIMEOUT_S = 5.0
# An engine's front closes idle connections sooner or later: what was idle for long is not reused.
_IDLE_S = 15.0


@dataclass(frozen=True, slots=True)
class Address:
    """Where one server listens, ``http://10.0.0.7:80``, and the ``host`` that it was asked for by."""

    url: str
    host: str


@dataclass(frozen=True, slots=True)
class Access:
    """How engines are asked: ``api_key`` or none, and the time that one answer may take, in seconds.

    ``ask_timeout_s`` is for questions that cost an engine nothing, such as who it is.
    """

    api_key: str | None = field(default=None, repr=False)
    timeout_s: float = 1800.0
    ask_timeout_s: float = 10.0

    def headers(self, address: Address) -> dict[str, str]:
        """Headers of every request; without a key, an empty one that `plain_client` takes out."""
        key = "" if self.api_key is None else f"Bearer {self.api_key}"
        return {"host": address.host, "authorization": key}

    @property
    def timeout(self) -> httpx2.Timeout:
        """Time between two signs of life of a connection."""
        return httpx2.Timeout(self.timeout_s, connect=CONNECT_TIMEOUT_S)


async def _finish_headers(request: httpx2.Request) -> None:
    if not request.headers.get("authorization"):
        request.headers.pop("authorization", None)
    request.headers["traceparent"] = traceparent()


def plain_client() -> httpx2.AsyncClient:
    """A pool of connections without a limit: how much is asked at once is bounded elsewhere."""
    return httpx2.AsyncClient(
        timeout=httpx2.Timeout(None, connect=CONNECT_TIMEOUT_S),
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=_IDLE_S),
        event_hooks={"request": [_finish_headers]},
        follow_redirects=False,
        trust_env=False,
    )


@asynccontextmanager
async def deadline(seconds: float, where: str) -> AsyncIterator[None]:
    """Raises `Unavailable` when the time is over; leaving early closes the connection in use."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise Unavailable(f"{where} gave no answer within {seconds:g} s") from error


class JsonServer:
    """One server that is asked in JSON, and answers in JSON or with a word.

    What it refuses or fails at becomes an error of `selfie.errors`.
    """

    def __init__(self, address: Address, access: Access) -> None:
        self.where = address.url
        self._url = address.url
        self._access = access
        self._headers = access.headers(address)
        self._client = plain_client()

    async def get(self, path: str) -> Any:
        """The answer to a short question."""
        return await self._ask("GET", path, None, self._access.ask_timeout_s)

    async def post(self, path: str, body: Any, *, slow: bool = False) -> Any:
        """The answer to a request; ``slow`` ones are generated, or move weights."""
        seconds = self._access.timeout_s if slow else self._access.ask_timeout_s
        return await self._ask("POST", path, body, seconds)

    async def close(self) -> None:
        """Closes all connections."""
        await self._client.aclose()

    async def _ask(self, method: str, path: str, body: Any, seconds: float) -> Any:
        where = f"{self.where}{path}"
        async with deadline(seconds, where):
            try:
                response = await self._client.request(
                    method, f"{self._url}{path}", json=body, headers=self._headers
                )
            except httpx2.RequestError as error:
                raise failures.broken(error, where) from error
        if response.status_code >= 300:
            raise failures.refused(response, where)
        try:
            return response.json()
        except ValueError:
            return response.text
