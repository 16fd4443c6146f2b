"""Creates, follows and stops Kubernetes Jobs; see `selfie.training.core` for processes.

Nothing is remembered here. What a job is follows from the Job, its pods and the attempt's directory,
so any replica answers, and one that dies leaves nothing half done that the same request would not
finish: first the records are in the store, then the Job, under a name that no other attempt has.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from pydantic import JsonValue

from selfie.artifacts.programs import ERROR_FILE, PARAMETERS_FILE, Attempt
from selfie.artifacts.store import Store
from selfie.errors import AlreadyExists, InvalidInput, OutOfDate, PermissionDenied
from selfie.kube.api import Api
from selfie.kube.objects import JOB, POD, SERVICE, Kind, Object, name_of, namespace_of, uid_of
from selfie.runs import reasons
from selfie.runs.names import job_name, run_at
from selfie.runs.programs import ProgramName
from selfie.runs.steps import step_at
from selfie.training import records
from selfie.training.cluster import ends, objects
from selfie.training.cluster.authority import Asked
from selfie.training.cluster.granting import Granted, Grants, parameters_file
from selfie.training.cluster.leavings import Left, job_of, just_made, left_by
from selfie.training.cluster.metrics import ADOPTED, CREATED
from selfie.training.cluster.standing import Seen, Standing, asks_for_pods, last_ended_pod, standing_of
from selfie.training.job import Job, find, record_page, require_same, with_attempt
from selfie.training.records import JobRecord, Refusal


class ClusterJobs:
    """Jobs of a cluster's runs; see `selfie.training.job.Jobs`."""

    def __init__(
        self,
        *,
        api: Api,
        grants: Grants,
        open_store: Callable[[str], Store],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._api = api
        self._grants = grants
        self._open_store = open_store
        self._now = now

    async def create(
        self,
        attempt: Attempt,
        *,
        request_id: str,
        program: ProgramName,
        parameters: Mapping[str, JsonValue],
    ) -> Job:
        """Starts the attempt's job, or returns the one that it has.

        The same request starts again what was cancelled, and what never came to have a Job. Raises
        `PermissionDenied`, `NotFound` and `OutOfDate` where the run itself does not call for it.
        """
        asked = Asked(attempt, request_id, program, with_attempt(parameters, attempt))
        store = await asyncio.to_thread(self._open_store, attempt.run_uri)
        granted = await self._grants.of(asked, store)
        record, is_new = await asyncio.to_thread(self._recorded, store, asked, granted)
        job = await self._look(store, record, is_new=is_new)
        if not (job.lost or job.state == "cancelled") or record.request_id != request_id:
            return job
        record = await asyncio.to_thread(self._begin, store, record, granted)
        record, made = await self._make(record, granted)
        await asyncio.to_thread(records.write_record, store, record)
        return await self._look(store, record) if made is None else just_made(record, made)

    async def get(self, name: str) -> Job:
        """The job of that name; `NotFound` if there is none."""
        return await self._look(*await asyncio.to_thread(find, self._open_store, name))

    async def page(self, run_uri: str, *, size: int = 0, token: str = "") -> tuple[list[Job], str]:
        """Jobs of a run by path, and the token of the next page; empty after the last one."""
        store = await asyncio.to_thread(self._open_store, run_uri)
        found, following = await asyncio.to_thread(record_page, store, size=size, token=token)
        return [await self._look(store, record) for record in found], following

    async def cancel(self, name: str) -> Job:
        """Stops the job, which is cancelled once its last pod is gone; one that has ended stays as it is."""
        store, record = await asyncio.to_thread(find, self._open_store, name)
        job = await self._look(store, record)
        if job.ended and not job.lost:
            return job
        record = record.changed(state="cancelled", changed_at=self._now())
        # Written first: if we die in between, whoever asks next deletes the Job.
        await asyncio.to_thread(records.write_record, store, record)
        found = await self._job(record)
        if found is not None:
            await self._delete(found)
        return await self._look(store, record)

    async def let_go(self, found: Object, name: str) -> bool:
        """Deletes a Job that has ended, if the store says how it did; False if that is not known yet."""
        job = await self.get(name)
        if not job.ended or (job.state == "succeeded" and job.published is None):
            return False
        return await self._delete(found)

    def _recorded(self, store: Store, asked: Asked, granted: Granted) -> tuple[JobRecord, bool]:
        """The attempt's record, and whether it was made now because there was none."""
        attempt, now = asked.attempt, self._now()
        record = JobRecord(
            request_id=asked.request_id,
            program=asked.program,
            attempt=attempt,
            parameters=granted.parameters,
            created_at=now,
            changed_at=now,
        )
        found = records.read_record(store, attempt.step, attempt.number)
        if found is None:
            with suppress(AlreadyExists):
                records.create_record(store, record)
                return record, True
            found = records.read_record(store, attempt.step, attempt.number) or record
        require_same(found, record)
        return found, False

    def _begin(self, store: Store, record: JobRecord, granted: Granted) -> JobRecord:
        """Puts into the attempt what its pod is told, and takes out what would end it before it began."""
        path = record.attempt.path
        store.write(f"{path}/{PARAMETERS_FILE}", parameters_file(granted.parameters))
        store.delete(f"{path}/{ERROR_FILE}")
        waiting = record.changed(
            state="pending", refusal=None, parameters=granted.parameters, changed_at=self._now()
        )
        records.write_record(store, waiting)
        return waiting

    async def _make(self, record: JobRecord, granted: Granted) -> tuple[JobRecord, Object | None]:
        """The record with what became of the Job, which is there if it was made now."""
        uid = record.attempt.run_uid
        try:
            if granted.wanted.nodes > 1:
                await self._create(SERVICE, objects.rendezvous_of(granted.wanted.owner), uid)
            found, is_new = await self._create(JOB, granted.job, uid)
        except (PermissionDenied, InvalidInput) as error:
            refusal = Refusal(reason=reasons.POD_REFUSED, message=str(error))
            return record.changed(refusal=refusal, changed_at=self._now()), None
        objects.require_told(found, granted.wanted)
        (CREATED if is_new else ADOPTED).labels(record.program).inc()
        return record.changed(state="running", changed_at=self._now()), found if is_new else None

    async def _create(self, kind: Kind, wanted: Object, run_uid: str) -> tuple[Object, bool]:
        """The object, and whether it was made now."""
        namespace, name = namespace_of(wanted), name_of(wanted)
        try:
            return await self._api.create(kind, wanted, namespace=namespace), True
        except AlreadyExists:
            found = await self._api.get(kind, name, namespace=namespace)
        if found is None:
            raise OutOfDate(f"the {kind.kind} {name} was there, and is gone; ask again")
        return objects.require_own(found, run_uid), False

    async def _delete(self, found: Object) -> bool:
        return await self._api.delete(JOB, name_of(found), uid=uid_of(found), namespace=namespace_of(found))

    async def _job(self, record: JobRecord) -> Object | None:
        attempt, step = record.attempt, step_at(record.attempt.step)
        if step is None:
            return None
        name = job_name(run_at(attempt.run_uri)[1], attempt.run_uid, step, attempt.number)
        found = await self._api.get(JOB, name, namespace=self._grants.namespace_of(attempt))
        return None if found is None else objects.require_own(found, attempt.run_uid)

    async def _look(self, store: Store, record: JobRecord, *, is_new: bool = False) -> Job:
        attempt = record.attempt
        left = await asyncio.to_thread(left_by, store, attempt)
        if left.published is not None or is_new:
            # Of what is published, a Job says nothing more; and a Job is only made after its record.
            return job_of(record, self._standing(record, left), left)
        # Asked before the store is asked again: a pod that ends while we look has written its result before.
        job = await self._job(record)
        if job is not None and record.state == "pending":
            # Whoever made it has died before saying so.
            record = record.changed(state="running", changed_at=self._now())
            await asyncio.to_thread(records.write_record, store, record)
        pods = await self._pods(attempt) if asks_for_pods(record, job) else []
        left = await asyncio.to_thread(left_by, store, attempt)
        standing = self._standing(record, left, job, pods)
        log = ""
        if standing.state == "failed":
            log = await self._end(store, record, standing, left, pods)
        return job_of(record, standing, left, log)

    def _standing(
        self, record: JobRecord, left: Left, job: Object | None = None, pods: Sequence[Object] = ()
    ) -> Standing:
        return standing_of(
            Seen(
                record=record,
                now=self._now(),
                job=job,
                pods=pods,
                published=left.published is not None,
                failure=left.failure,
            )
        )

    async def _pods(self, attempt: Attempt) -> Sequence[Object]:
        labels = objects.pod_labels(attempt.run_uid, attempt.step, attempt.number)
        namespace = self._grants.namespace_of(attempt)
        return (await self._api.list(POD, namespace=namespace, labels=labels)).items

    async def _end(
        self, store: Store, record: JobRecord, standing: Standing, left: Left, pods: Sequence[Object]
    ) -> str:
        """Keeps why it failed, if nobody has, and returns the last lines of its log."""
        path = record.attempt.path
        if left.failure is None and standing.is_the_end:
            log = await ends.last_words(
                self._api,
                pod=last_ended_pod(pods),
                namespace=self._grants.namespace_of(record.attempt),
                container=objects.PROGRAM_CONTAINER,
            )
            await asyncio.to_thread(ends.keep, store, path, standing.failure, log)
        return await asyncio.to_thread(ends.quoted_log, store, path)
