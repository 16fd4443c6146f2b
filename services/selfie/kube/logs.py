"""The end of a container's log, however long its lines are."""

import aiohttp

from selfie.kube.answers import failure_of, status_of
from selfie.kube.requests import Asked

LONGEST_TAIL = 256 * 1024
"""Bytes that are kept of a log: a progress bar may be one line of many megabytes."""

_NOTHING_YET = ("is waiting to start", "previous terminated container", "does not have a host assigned")


async def log_tail(asked: Asked, answer: aiohttp.ClientResponse) -> str:
    """The last bytes of the answer; empty while the container has not started."""
    tail = b""
    async for chunk in answer.content.iter_chunked(64 * 1024):
        tail = (tail + chunk)[-LONGEST_TAIL:]
    if answer.status == 400 and any(hint in status_of(tail).get("message", "") for hint in _NOTHING_YET):
        return ""
    if answer.status >= 400:
        raise failure_of(asked, answer.status, answer.headers, tail)
    return tail.decode(errors="replace")
