"""Leader election by a Lease: one operator acts, others wait for it to fall silent.

Remote clocks are never read. A challenger measures by its own clock how long the Lease has not
changed; the holder stops writing ``renew_s`` after it *sent* its last successful renewal, which
is before any challenger can have waited ``duration_s``. A process that was stopped and woken finds
its own time run out by the same check, before it has sent anything.
"""

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from selfie.errors import AlreadyExists, FailedPrecondition, NotFound, SelfieError
from selfie.kube.answers import CONFLICT
from selfie.kube.api import Api
from selfie.kube.objects import LEASE, Object, micro_time, version_of
from selfie_operator.keys import NotLeader
from selfie_operator.metrics import LEADER

log = structlog.get_logger()

_NEVER = float("-inf")
_AGAIN_S = 0.25


def steady_clock() -> float:
    """Seconds that go on while the process is stopped, and on Linux while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(frozen=True, kw_only=True)
class LeaseTerms:
    """Which Lease, for whom, and its times in seconds."""

    namespace: str
    name: str
    identity: str
    duration_s: float = 15
    renew_s: float = 10
    retry_s: float = 2


class Taken(Exception):
    """Somebody else holds the Lease."""


class Election:
    """This process's part in it: `acquire`, then `hold` until that returns, or `release`."""

    def __init__(
        self,
        api: Api,
        terms: LeaseTerms,
        *,
        clock: Callable[[], float] = steady_clock,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._api = api
        self._terms = terms
        self._clock = clock
        self._now = now
        self._lease: Object | None = None
        self._seen_at = _NEVER
        self._leads_until = _NEVER
        self._trouble = ""

    @property
    def is_leader(self) -> bool:
        """Whether it may write now."""
        return self._clock() < self._leads_until

    def check(self) -> None:
        """Called before every act, from any thread; `NotLeader` when it may not."""
        if not self.is_leader:
            raise NotLeader

    async def acquire(self) -> None:
        """Returns once the Lease is held."""
        while not await self._attempt(self._contend):
            await asyncio.sleep(self._terms.retry_s * random.uniform(0.9, 1.1))
        log.info("leading", lease=self._terms.name, identity=self._terms.identity)
        LEADER.set(1)

    async def hold(self) -> None:
        """Renews the Lease; returns when it is lost, from when on `check` refuses."""
        pause_s = self._terms.retry_s
        try:
            while self.is_leader:
                left = self._leads_until - self._clock()
                await asyncio.sleep(min(pause_s, left))
                if self.is_leader:
                    renewed = await self._attempt(self._renew)
                    # Who has waited for an answer in vain has no time to lose.
                    pause_s = min(self._terms.retry_s, math.inf if renewed else _AGAIN_S)
        except Taken:
            log.warning("lease taken by another")
        self._lease = None
        self._stop_leading()

    async def release(self) -> None:
        """Writes no more, and lets the next one lead at once; it is no error if nobody can be told."""
        self._stop_leading()
        lease = self._lease
        if lease is not None and holder_of(lease) == self._terms.identity:
            await self._attempt(lambda: self._give_up(lease))

    def _stop_leading(self) -> None:
        self._leads_until = _NEVER
        LEADER.set(0)

    async def _attempt(self, step: Callable[[], Awaitable[bool]]) -> bool:
        try:
            async with asyncio.timeout(self._patience_s()):
                succeeded = await step()
        except (SelfieError, TimeoutError) as error:
            self._tell(f"{type(error).__name__} {error}")
            return False
        self._tell("")
        return succeeded

    def _patience_s(self) -> float:
        patience = self._terms.renew_s / 2
        return min(patience, self._leads_until - self._clock()) if self.is_leader else patience

    def _tell(self, trouble: str) -> None:
        if trouble and trouble != self._trouble:
            log.warning("lease out of reach", lease=self._terms.name, error=trouble)
        self._trouble = trouble

    async def _contend(self) -> bool:
        found = await self._look()
        if found is None:
            try:
                return await self._write(self._claim(None))
            except AlreadyExists:
                return False
        return self._is_free(found) and await self._write(self._claim(found))

    async def _renew(self) -> bool:
        try:
            return await self._write(self._claim(self._lease))
        except NotFound as error:
            raise Taken from error
        except FailedPrecondition as error:
            if error.reason != CONFLICT:
                raise
        # Somebody wrote it: another holder, a person's label, or ourselves without hearing back.
        found = await self._look()
        if found is None or holder_of(found) != self._terms.identity:
            raise Taken
        return await self._write(self._claim(found))

    async def _look(self) -> Object | None:
        found = await self._api.get(LEASE, self._terms.name, namespace=self._terms.namespace)
        if found is not None and (self._lease is None or version_of(found) != version_of(self._lease)):
            self._seen_at = self._clock()
            self._lease = found
        return found

    def _is_free(self, found: Object) -> bool:
        if holder_of(found) in {"", self._terms.identity}:
            return True
        told = float(found.get("spec", {}).get("leaseDurationSeconds") or 0)
        return self._clock() - self._seen_at > max(told, self._terms.duration_s)

    def _claim(self, found: Object | None) -> Object:
        return claimed(found, self._terms, self._now())

    async def _write(self, wanted: Object) -> bool:
        sent_at = self._clock()
        if "resourceVersion" in wanted["metadata"]:
            self._lease = await self._api.replace(LEASE, wanted)
        else:
            self._lease = await self._api.create(LEASE, wanted)
        self._leads_until = sent_at + self._terms.renew_s
        return True

    async def _give_up(self, lease: Object) -> bool:
        self._lease = await self._api.replace(LEASE, given_up(lease, self._now()))
        return True


def holder_of(lease: Object) -> str:
    """Identity of the holder; empty if nobody holds it."""
    return (lease.get("spec") or {}).get("holderIdentity") or ""


def claimed(found: Object | None, terms: LeaseTerms, now: datetime) -> Object:
    """The Lease as its holder writes it, over the one that was found; its times are for people to read."""
    metadata = {"namespace": terms.namespace, "name": terms.name}
    lease = found or {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": metadata}
    spec = lease.get("spec") or {}
    mine = found is not None and holder_of(found) == terms.identity
    changes = int(spec.get("leaseTransitions") or 0)
    return lease | {
        "spec": {
            "holderIdentity": terms.identity,
            "leaseDurationSeconds": max(1, math.ceil(terms.duration_s)),
            "acquireTime": spec.get("acquireTime") if mine else micro_time(now),
            "renewTime": micro_time(now),
            "leaseTransitions": changes if mine or found is None else changes + 1,
        }
    }


def given_up(lease: Object, now: datetime) -> Object:
    """The Lease without a holder, so that the next one need not wait."""
    spec = {key: value for key, value in lease["spec"].items() if key != "holderIdentity"}
    return lease | {"spec": spec | {"leaseDurationSeconds": 1, "renewTime": micro_time(now)}}
