"""What one caller may ask for, so that none takes a service from the others: calls a second, calls at once.

A caller is who its token says, or else the address that it calls from.
"""

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from urllib.parse import unquote

import grpc

from selfie.errors import Overloaded
from selfie.rpc.callers import CALLER
from selfie.rpc.guards import Call, Guard

_EXEMPT = "grpc.health.v1.Health/"
_MANY_CALLERS = 10_000


@dataclass
class _Account:
    """Calls that a caller may still begin at ``counted_at``, and those being answered."""

    credit: float
    counted_at: float
    at_once: int = 0


class CallerLimits:
    """``per_second`` calls, up to one second's worth of them together, and ``at_once``; None is no limit."""

    def __init__(
        self,
        *,
        per_second: float | None = None,
        at_once: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._per_second = float("inf") if per_second is None else per_second
        self._burst = max(self._per_second, 1.0)
        self._at_once = float("inf") if at_once is None else at_once
        self._clock = clock
        self._accounts: dict[str, _Account] = {}

    @contextmanager
    def place(self, caller: str) -> Iterator[None]:
        """A place for one call; `Overloaded` if the caller has none left."""
        account = self._account(caller)
        if account.at_once >= self._at_once:
            message = f"{caller} has {account.at_once} calls in flight, as many as it may"
            raise Overloaded(message, retry_after_s=1.0)
        if account.credit < 1:
            wait_s = (1 - account.credit) / self._per_second
            raise Overloaded(
                f"{caller} makes more than {self._per_second:g} calls a second", retry_after_s=wait_s
            )
        account.credit -= 1
        account.at_once += 1
        try:
            yield
        finally:
            account.at_once -= 1

    def _account(self, caller: str) -> _Account:
        now = self._clock()
        if len(self._accounts) > _MANY_CALLERS:
            self._forget_idle(now)
        account = self._accounts.setdefault(caller, _Account(self._burst, now))
        if self._burst < float("inf"):
            passed = now - account.counted_at
            account.credit = min(self._burst, account.credit + passed * self._per_second)
        account.counted_at = now
        return account

    def _forget_idle(self, now: float) -> None:
        """Drops those whose account would be full again."""
        full_s = self._burst / self._per_second if self._burst < float("inf") else 0.0
        self._accounts = {
            caller: account
            for caller, account in self._accounts.items()
            if account.at_once or now - account.counted_at < full_s
        }


def limited(limits: CallerLimits) -> Guard:
    """A guard that holds every caller to its limits; whoever asks for health is not held to any."""

    @asynccontextmanager
    async def guard(call: Call) -> AsyncIterator[None]:
        if call.method.startswith(_EXEMPT):
            yield
            return
        with limits.place(CALLER.get() or _host(call.context)):
            yield

    return guard


def _host(context: grpc.aio.ServicerContext) -> str:
    """The address without its port, alike over gRPC (``ipv4:10.0.0.1:5``) and HTTP (``10.0.0.1:5``)."""
    peer = unquote(str(context.peer())).removeprefix("ipv4:").removeprefix("ipv6:")
    return peer.rpartition(":")[0].strip("[]")
