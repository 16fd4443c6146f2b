"""Plain HTTP for tests, as curl would do it: status, headers, and the body's JSON."""

import asyncio
import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: Any


async def ask(
    url: str,
    body: Any = None,
    *,
    headers: dict[str, str] | None = None,
    context: ssl.SSLContext | None = None,
) -> Answer:
    """A POST of JSON, or of bytes as they are; without a body a GET."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"Content-Type": "application/json", **(headers or {})}
    request = urllib.request.Request(url, data=data, headers=sent)
    return await asyncio.to_thread(_asked, request, context)


def _asked(request: urllib.request.Request, context: ssl.SSLContext | None) -> Answer:
    try:
        with urllib.request.urlopen(request, timeout=30, context=context) as response:
            return _answer(response.status, response.headers, response.read())
    except urllib.error.HTTPError as error:
        with error:
            return _answer(error.code, error.headers, error.read())


def _answer(status: int, headers: Any, data: bytes) -> Answer:
    try:
        body = json.loads(data)
    except ValueError:
        body = data
    return Answer(status, {name.lower(): value for name, value in headers.items()}, body)
