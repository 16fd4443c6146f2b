"""How a process of ours says who it is when it calls a service: a token in the metadata of each call.

gRPC's own call credentials refuse a channel without TLS. Within a release channels have none; what
keeps a token from others there is the network policy and its short life.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

from selfie.errors import Unavailable

Credentials = Callable[[], str]
"""Gives the token to show now."""


class TokenFile:
    """A token that the kubelet renews in place: read for each call, so that none shows an old one."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __call__(self) -> str:
        """The token; `Unavailable` if it can't be read."""
        try:
            return self._path.read_text().strip()
        except OSError as error:
            raise Unavailable(
                f"{self._path}: {error}; mount a projected token of audience selfie.dev there"
            ) from error


class _Unary(grpc.aio.UnaryUnaryClientInterceptor):
    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await continuation(_with_token(client_call_details, self._credentials()), request)


class _Stream(grpc.aio.UnaryStreamClientInterceptor):
    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await continuation(_with_token(client_call_details, self._credentials()), request)


def interceptors(credentials: Credentials) -> list[grpc.aio.ClientInterceptor]:
    """What shows the token on calls whose request is one message, which all of ours are."""
    return [_Unary(credentials), _Stream(credentials)]


def _with_token(details: Any, token: str) -> Any:
    metadata = grpc.aio.Metadata(*(details.metadata or ()))
    metadata.add("authorization", f"Bearer {token}")
    return details._replace(metadata=metadata)
