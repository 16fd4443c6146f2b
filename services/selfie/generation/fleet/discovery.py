"""Which servers there are: the addresses behind the names that were given.

A headless Service's name stands for its ready pods. It is looked up anew every few seconds and
each address is asked by itself: behind a balancer nobody could tell who it was that answered.
"""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

from selfie.errors import InvalidInput
from selfie.generation.http.clients import Address

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]

LOOK_UP_EVERY_S = 5.0


async def look_up(host: str, port: int) -> list[str]:
    """All addresses of a name."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


class Discovery:
    """The servers behind ``targets``: one or more ``http://name:port``, separated by commas.

    Names of ``https`` targets are not looked up, because certificates are for names. A name that
    can't be looked up keeps the addresses that it had: what is gone is found out by asking it.
    """

    def __init__(
        self, targets: str, *, resolve: Resolve = look_up, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._targets = [_checked(part.strip()) for part in targets.split(",")]
        self._resolve = resolve
        self._clock = clock
        self._known: dict[str, tuple[Address, ...]] = {}
        self._due = float("-inf")
        self._looking = asyncio.Lock()

    async def addresses(self) -> tuple[Address, ...]:
        """Every server once, in a fixed order."""
        async with self._looking:
            if self._clock() >= self._due:
                for target in self._targets:
                    await self._look_up(target)
                self._due = self._clock() + LOOK_UP_EVERY_S
        found = {address.url: address for known in self._known.values() for address in known}
        return tuple(found[url] for url in sorted(found))

    async def _look_up(self, target: str) -> None:
        parts = urlsplit(target)
        host, authority = parts.hostname or "", parts.netloc
        if parts.scheme == "https" or _is_literal(host):
            self._known[target] = (Address(target, authority),)
            return
        port = parts.port or 80
        try:
            hosts = await self._resolve(host, port)
        except OSError:
            return
        self._known[target] = tuple(
            Address(f"http://{_written(found)}:{port}{parts.path}", authority) for found in hosts
        )


def _checked(target: str) -> str:
    parts = urlsplit(target)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
        raise InvalidInput(
            "--engine-address",
            f"{target!r} is not the address of a server",
            "write http://NAME:PORT, several with commas between them",
        )
    return target.rstrip("/")


def _is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _written(host: str) -> str:
    return f"[{host}]" if ":" in host else host
