"""Requests to a test cluster's API server as they are, with the server's own words for an answer."""

import base64
import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

import yaml

_TIMEOUT_S = 30


@dataclass(frozen=True)
class Answer:
    """What the server said."""

    code: int
    body: Any
    warnings: tuple[str, ...] = ()

    @property
    def refused(self) -> bool:
        """Whether the request was wrong; any other failure is not what a test asks for."""
        assert self.code < 300 or self.code in {400, 422}, self.body
        return self.code >= 300

    @property
    def message(self) -> str:
        return str(self.body.get("message", ""))


class RawApi:
    """One connection, made anew where the server has closed it."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        server = urlsplit(cluster["server"])
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if "token" in user:
            self._headers["Authorization"] = f"Bearer {user['token']}"
        self._connection = http.client.HTTPSConnection(
            server.hostname or "", server.port, timeout=_TIMEOUT_S, context=tls_context(cluster, user)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(
        self, method: str, path: str, body: Any = None, *, accept: str | None = None, **query: str
    ) -> Answer:
        """``path`` begins at the server's root; ``query`` has names such as ``dryRun``."""
        headers = {**self._headers, **({"Accept": accept} if accept else {})}
        if method == "PATCH":
            headers["Content-Type"] = "application/merge-patch+json"
        where = f"{path}?{urlencode(query)}" if query else path
        data = None if body is None else json.dumps(body).encode()
        try:
            self._connection.request(method, where, data, headers)
            answer = self._connection.getresponse()
        except (ConnectionError, http.client.HTTPException):
            self._connection.close()
            self._connection.request(method, where, data, headers)
            answer = self._connection.getresponse()
        warnings = tuple(answer.headers.get_all("Warning") or ())
        return Answer(answer.status, _data(answer.read()), warnings)


def _data(text: bytes) -> Any:
    # Of a path that is not served yet, the server says in plain words that it is not found.
    return json.loads(text) if text.startswith(b"{") else {"message": text.decode()}


def tls_context(cluster: Mapping[str, str], user: Mapping[str, str]) -> ssl.SSLContext:
    """How this user of a kubeconfig meets this cluster."""
    context = ssl.create_default_context(cadata=_text(cluster, "certificate-authority"))
    certificate, key = _text(user, "client-certificate"), _text(user, "client-key")
    if certificate and key:
        with TemporaryDirectory() as folder:
            file = Path(folder) / "client.pem"
            file.touch(mode=0o600)
            file.write_text(f"{certificate}\n{key}")
            context.load_cert_chain(file)
    return context


def _text(entry: Mapping[str, str], name: str) -> str | None:
    if f"{name}-data" in entry:
        return base64.b64decode(entry[f"{name}-data"]).decode()
    return Path(entry[name]).read_text() if name in entry else None
