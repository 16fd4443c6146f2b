"""Tokens of Kubernetes service accounts, verified here: no call to the API server for each of ours.

The API server signs projected tokens and publishes the keys that they can be checked with. To read
those takes no rights beyond what every account has, where asking it about a token (TokenReview)
would take a ClusterRole. The price is that a token of a deleted pod is good until it expires, within
the hour.
"""

import asyncio
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import aiohttp
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from selfie.errors import Unauthenticated, Unavailable

ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
_LEEWAY_S = 10
_TIMEOUT = aiohttp.ClientTimeout(total=10)


@dataclass(frozen=True)
class Keys:
    """What a token must be signed with, and by whom."""

    issuer: str
    keys: KeySet


class KeySource(Protocol):
    """Where keys come from."""

    async def fetch(self) -> Keys:
        """The keys as they are now; `Unavailable` if they can't be had."""
        ...


class ApiServerKeys:
    """The keys of an API server, read as the account whose ``token`` and ``ca.crt`` are in a directory."""

    def __init__(self, url: str, credentials: Path) -> None:
        self._url = url.rstrip("/")
        self._credentials = credentials

    async def fetch(self) -> Keys:
        try:
            # Read each time: the kubelet puts a new token in place of one that is about to expire.
            token = (self._credentials / "token").read_text().strip()
            headers = {"Authorization": f"Bearer {token}"}
            async with aiohttp.ClientSession(headers=headers, timeout=_TIMEOUT) as session:
                found = await self._get(session, "/.well-known/openid-configuration")
                keys = await self._get(session, "/openid/v1/jwks")
            return Keys(str(found["issuer"]), KeySet.import_key_set(keys))
        except (OSError, aiohttp.ClientError, TimeoutError, JoseError, KeyError, ValueError) as error:
            raise Unavailable(
                f"{self._url}: the keys of service accounts can't be read ({error or type(error).__name__}); "
                "give the pod a token of the API server"
            ) from error

    async def _get(self, session: aiohttp.ClientSession, path: str) -> Any:
        async with session.get(self._url + path, ssl=self._trust()) as answer:
            answer.raise_for_status()
            # The type is application/jwk-set+json, which the client would not take for JSON.
            return await answer.json(content_type=None)

    def _trust(self) -> ssl.SSLContext | bool:
        authority = self._credentials / "ca.crt"
        return ssl.create_default_context(cafile=str(authority)) if authority.exists() else True


class ServiceAccountTokens:
    """Says whose a token is.

    Keys are fetched when they are first needed, when a token names another key, though not more
    often than every ``pause_s`` seconds whatever tokens are shown, and when they are ``stale_s``
    old. While they can't be fetched, those at hand serve on.
    """

    def __init__(
        self,
        source: KeySource,
        *,
        audience: str,
        pause_s: float = 10,
        stale_s: float = 3600,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._source = source
        self._pause_s = pause_s
        self._stale_s = stale_s
        self._audience = audience
        self._clock = clock
        self._now = now
        self._keys: Keys | None = None
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._fetching = asyncio.Lock()

    async def subject_of(self, token: str) -> str:
        """``system:serviceaccount:NAMESPACE:NAME``.

        `Unauthenticated` for a token that proves nothing, `Unavailable` while there are no keys to
        check it with.
        """
        keys = await self._fresh(self._stale_s)
        try:
            return self._verified(token, keys)
        except InvalidKeyIdError:
            keys = await self._fresh(self._pause_s)
        except JoseError as error:
            raise _refused(error) from error
        try:
            return self._verified(token, keys)
        except JoseError as error:
            raise _refused(error) from error

    def _verified(self, token: str, keys: Keys) -> str:
        try:
            found = jwt.decode(token, keys.keys, algorithms=ALGORITHMS)
        except ValueError as error:
            raise _refused(error) from error
        rules = jwt.JWTClaimsRegistry(
            now=lambda: int(self._now()),
            leeway=_LEEWAY_S,
            iss={"essential": True, "value": keys.issuer},
            aud={"essential": True, "value": self._audience},
            sub={"essential": True},
            exp={"essential": True},
        )
        rules.validate(found.claims)
        return str(found.claims["sub"])

    async def _fresh(self, age_s: float) -> Keys:
        """The keys, fetched again if they are older than ``age_s`` and were not just tried."""
        async with self._fetching:
            now = self._clock()
            wanted = self._keys is None or now - self._fetched_at > age_s
            if wanted and now - self._tried_at > (self._pause_s if self._keys else 1):
                self._tried_at = now
                await self._fetch(now)
            if self._keys is None:
                raise Unavailable("the keys of service accounts could not be read a moment ago")
            return self._keys

    async def _fetch(self, now: float) -> None:
        try:
            self._keys = await self._source.fetch()
            self._fetched_at = now
        except Unavailable:
            if self._keys is None:
                raise


def _refused(error: Exception) -> Unauthenticated:
    return Unauthenticated(f"the token is not valid: {error}; show a projected token of this release")
