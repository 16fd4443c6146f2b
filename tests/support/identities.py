"""An API server's part in identity: it signs tokens and publishes its keys, over HTTP on loopback."""

import time
from pathlib import Path
from typing import Any

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

ISSUER = "https://kubernetes.default.svc.cluster.local"
OPERATOR = "system:serviceaccount:team:selfie-operator"


class Identities:
    """Use as an async context manager; ``credentials`` is the directory of a pod's API token."""

    def __init__(self, directory: Path) -> None:
        self.credentials = directory
        self.fetches = 0
        self.is_down = False
        self.key = self.new_key()
        (directory / "token").write_text("a token of the API server\n")

    async def __aenter__(self) -> "Identities":
        app = web.Application()
        app.router.add_get("/.well-known/openid-configuration", self._configuration)
        app.router.add_get("/openid/v1/jwks", self._keys)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @staticmethod
    def new_key(**parameters: Any) -> RSAKey:
        return RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256"} | parameters, auto_kid=True)

    def token(self, subject: str = OPERATOR, *, key: RSAKey | None = None, **claims: Any) -> str:
        """A projected token; ``claims`` replace what it usually says, None leaves one out."""
        key = key or self.key
        now = int(time.time())
        usual = {"iss": ISSUER, "aud": ["selfie.dev"], "sub": subject, "iat": now, "exp": now + 3600}
        said = {name: value for name, value in {**usual, **claims}.items() if value is not None}
        return jwt.encode({"alg": "RS256", "kid": key.kid}, said, key)

    async def _configuration(self, request: web.Request) -> web.Response:
        self._check(request)
        return web.json_response({"issuer": ISSUER, "jwks_uri": "https://10.0.0.1:6443/openid/v1/jwks"})

    async def _keys(self, request: web.Request) -> web.Response:
        self._check(request)
        self.fetches += 1
        keys = KeySet([self.key]).as_dict(private=False)
        return web.json_response(keys, content_type="application/jwk-set+json")

    def _check(self, request: web.Request) -> None:
        if self.is_down:
            raise web.HTTPServiceUnavailable
        if request.headers.get("Authorization") != "Bearer a token of the API server":
            raise web.HTTPUnauthorized
