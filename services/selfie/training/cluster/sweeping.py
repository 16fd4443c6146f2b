"""Jobs that have ended go, with their pods, once the store says how they ended.

A Job's own time to live would count from its end, whether or not anybody had taken note of it; and a
Job that is gone before that is made again by whoever has not.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog

from selfie.errors import SelfieError
from selfie.kube.api import Api
from selfie.kube.labels import MANAGED_BY
from selfie.kube.objects import JOB, name_of
from selfie.training.cluster.controller import ClusterJobs
from selfie.training.cluster.objects import JOB as JOB_ANNOTATION
from selfie.training.cluster.objects import MANAGER
from selfie.training.cluster.standing import finished_at

log = structlog.get_logger()


class Sweeper:
    """Looks every ``every_s`` seconds for Jobs that ended ``keep_s`` seconds ago; several may at once."""

    def __init__(
        self,
        api: Api,
        jobs: ClusterJobs,
        *,
        namespace: str | None,
        keep_s: float = 15,
        every_s: float = 20,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._api = api
        self._jobs = jobs
        self._namespace = namespace
        self._keep = timedelta(seconds=keep_s)
        self._every_s = every_s
        self._now = now

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(self._every_s)
            try:
                await self.sweep()
            except Exception:
                # Whatever was wrong with this look, the next one is another; nobody waits for either.
                log.exception("ended jobs could not be looked for")

    async def sweep(self) -> int:
        """One look; how many Jobs it has deleted. What can't be settled now stays for the next look."""
        gone = 0
        listing = await self._api.list(JOB, namespace=self._namespace, labels={MANAGED_BY: MANAGER})
        for found in listing.items:
            ended = finished_at(found)
            name = (found["metadata"].get("annotations") or {}).get(JOB_ANNOTATION)
            if name is None or ended is None or self._now() - ended < self._keep:
                continue
            try:
                gone += await self._jobs.let_go(found, name)
            except SelfieError as error:
                log.warning("an ended job stays", job=name_of(found), error=str(error))
        return gone
