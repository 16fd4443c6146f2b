"""Keeps one cache up to date by a list and a watch, and says which run to look at.

What it says are hints: they may be lost, doubled or late, and nothing is decided by them.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field

import structlog

from selfie.errors import FailedPrecondition, PermissionDenied, SelfieError
from selfie.kube.answers import EXPIRED
from selfie.kube.api import Api, Change
from selfie.kube.objects import SELFIE_RUN, generation_of, is_going, version_of
from selfie_operator.backoffs import Backoff
from selfie_operator.caches import Cache, Update
from selfie_operator.keys import Key, run_of
from selfie_operator.metrics import WATCH_LAST_EVENT, WATCH_RESTARTS

log = structlog.get_logger()

CHILD_LABELS: Mapping[str, str] = {"app.kubernetes.io/name": "selfie"}
"""What all children carry."""

Hint = Callable[[Key, bool], None]
"""Called with a run to look at, and whether a person may be waiting for it."""

_SHORT_WATCH_S = 1.0
_QUICK_EXPIRY_S = 5.0
_FAILURES_BEFORE_LIST = 2


@dataclass(frozen=True, kw_only=True)
class Watching:
    """What is watched, and how patiently: ``namespace`` None means all of them."""

    namespace: str | None = None
    relist_s: float = 300
    backoff: Backoff = field(default_factory=lambda: Backoff(1, 30))
    labels: Mapping[str, str] | None = None


class Reflector:
    """One kind's list and watch, for as long as the process lives."""

    def __init__(self, api: Api, cache: Cache, watching: Watching, hint: Hint) -> None:
        self._api = api
        self._cache = cache
        self._watching = watching
        self._hint = hint
        # Of watches in a row, which lists do not mend.
        self._failures = 0
        self._heard_at = asyncio.get_running_loop().time()
        self.refusal: str | None = None
        """Why it may not list or watch, while the server says so."""

    @property
    def resource(self) -> str:
        """Plural of what is watched."""
        return self._cache.kind.plural

    @property
    def silent_s(self) -> float:
        """Seconds since anything came: a change, a bookmark, or a whole list."""
        return asyncio.get_running_loop().time() - self._heard_at

    async def run(self) -> None:
        """Lists, watches, and lists again every ``relist_s``; never returns."""
        failures = 0
        while True:
            try:
                version = await self._list()
            except SelfieError as error:
                failures += 1
                await asyncio.sleep(self._wait_s("list", error, failures))
                continue
            failures = 0
            try:
                # Told apart by chance, so that not all kinds are listed at the same moment.
                async with asyncio.timeout(self._watching.relist_s * random.uniform(0.9, 1.1)):
                    await self._follow(version)
            except TimeoutError:
                log.debug("listing again", resource=self.resource)

    async def _list(self) -> str:
        listing = await self._api.list(
            self._cache.kind,
            namespace=self._watching.namespace,
            labels=self._watching.labels,
            keep=self._cache.kept,
        )
        self._heard()
        for update in self._cache.replace(listing):
            self._tell(update)
        return listing.resource_version

    async def _follow(self, version: str) -> None:
        """Watches from ``version`` on; returns when it takes a list to go on."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            wait_s, expired = _SHORT_WATCH_S, False
            try:
                async for change in self._changes(version):
                    version = version_of(change.object)
                    self._failures = 0
                    self._heard()
                    self._take(change)
                    # What has come already would be taken in without anybody else having a turn.
                    await asyncio.sleep(0)
            except SelfieError as error:
                expired = isinstance(error, FailedPrecondition) and error.reason == EXPIRED
                if expired and loop.time() - began > _QUICK_EXPIRY_S:
                    # Old age is no failure, and a list mends it at once.
                    self._failures = 0
                self._failures += 1
                wait_s = self._wait_s("expired" if expired else "watch", error, self._failures)
            # A watch that lasted, or was silent for long, has been waited for already.
            await asyncio.sleep(max(wait_s - (loop.time() - began), 0))
            if expired or self._failures >= _FAILURES_BEFORE_LIST:
                return

    def _changes(self, version: str) -> AsyncIterator[Change]:
        return self._api.watch(
            self._cache.kind,
            resource_version=version,
            namespace=self._watching.namespace,
            labels=self._watching.labels,
        )

    def _take(self, change: Change) -> None:
        if change.type != "BOOKMARK":
            update = self._cache.apply(change)
            if update is not None:
                self._tell(update)

    def _tell(self, update: Update) -> None:
        key = run_of(self._cache.kind, update.object)
        if key is not None:
            self._hint(key, self._cache.kind == SELFIE_RUN and _is_wish(update))

    def _heard(self) -> None:
        self.refusal = None
        self._heard_at = asyncio.get_running_loop().time()
        WATCH_LAST_EVENT.labels(self.resource).set(time.time())

    def _wait_s(self, what: str, error: SelfieError, failures: int) -> float:
        wait = self._watching.backoff.seconds(failures, error)
        self.refusal = str(error) if isinstance(error, PermissionDenied) else None
        WATCH_RESTARTS.labels(self.resource, what).inc()
        log.warning("watch failed", resource=self.resource, what=what, error=str(error), failures=failures)
        return wait


def _is_wish(update: Update) -> bool:
    """Whether somebody wants something of the run, rather than the run having come further."""
    before, after = update.before, update.object
    if before is None or update.gone:
        return True
    return is_going(before) != is_going(after) or generation_of(before) != generation_of(after)
