"""Batch calls as long-running operations whose state is in the artifact store.

The record of an operation lies in its attempt's directory, beside the shards, with a heartbeat
of the process that works on it. So any replica answers for any operation, a replica that finds
a dead heartbeat takes the work over, and finished shards are not made again. An operation that
nobody asks about stops by itself and goes on when it is started or asked for again.
"""

import asyncio
import base64
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import structlog
from google.longrunning import operations_pb2
from google.protobuf.message import Message

from selfie.artifacts.manifests import Manifest, publish, read_published
from selfie.artifacts.operations import (
    OperationRecord,
    create_record,
    is_alive,
    operation_name,
    parse_operation_name,
    read_record,
    write_record,
)
from selfie.artifacts.store import Store
from selfie.errors import AlreadyExists, Cancelled, NotFound, SelfieError
from selfie.rpc.operation_context import OperationContext
from selfie.rpc.operation_heartbeats import Heartbeat, ask_to_cancel, note_asked
from selfie.rpc.operation_messages import done_operation, pending_operation
from selfie.rpc.operation_metrics import count_end, working
from selfie.tracing.attempts import attempt_span
from selfie.v1 import artifacts_pb2

log = structlog.get_logger()

Work = Callable[[OperationContext, Message], Manifest]


class Method:
    """A batch method: its request type, and the work that it stands for."""

    def __init__(self, request_type: type[Message], work: Work) -> None:
        self.request_type = request_type
        self.work = work


class OperationRunner:
    """Starts operations, works on them in threads, and answers for those of all replicas.

    ``owner`` names this process; ``lease_s`` is how old a heartbeat may be, and
    ``abandoned_after_s`` how long an operation goes on without anybody asking about it.
    """

    def __init__(
        self,
        *,
        open_store: Callable[[str], Store],
        owner: str,
        methods: Mapping[str, Method],
        lease_s: float = 30,
        abandoned_after_s: float = 300,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._open_store = open_store
        self._owner = owner
        self._methods = methods
        self._lease_s = lease_s
        self._abandoned_after = timedelta(seconds=abandoned_after_s)
        self._now = now
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._contexts: dict[str, OperationContext] = {}
        self._asked: dict[str, datetime] = {}

    async def start(
        self, *, method: str, request_id: str, attempt: artifacts_pb2.Attempt, request: Message
    ) -> operations_pb2.Operation:
        """Starts the attempt's work, or returns what it already is."""
        name = operation_name(attempt.run_uri, attempt.step, attempt.number)
        store = await asyncio.to_thread(self._open_store, attempt.run_uri)
        record = OperationRecord(
            request_id=request_id,
            method=method,
            request=base64.b64encode(request.SerializeToString(deterministic=True)).decode(),
            run_uid=attempt.run_uid,
            state="running",
            owner=self._owner,
            heartbeat_at=self._now(),
            started_at=self._now(),
        )
        try:
            await asyncio.to_thread(create_record, store, attempt.step, attempt.number, record)
        except AlreadyExists:
            existing = await asyncio.to_thread(read_record, store, attempt.step, attempt.number)
            if existing is not None and not existing.same_request(record):
                raise AlreadyExists(
                    f"attempt {attempt.number} of {attempt.step} was started with another request; "
                    "start a new attempt"
                ) from None
            return await self._answer(name, store, resume_cancelled=True)
        self._launch(name, store, record, attempt.step, attempt.number)
        return await self._answer(name, store)

    async def get(self, name: str) -> operations_pb2.Operation:
        """The operation's state; work whose process has died is taken over here."""
        run_uri, _, _ = parse_operation_name(name)
        return await self._answer(name, await asyncio.to_thread(self._open_store, run_uri))

    async def cancel(self, name: str) -> None:
        """Asks whichever process works on it to stop; finished shards stay."""
        run_uri, step, number = parse_operation_name(name)
        if name in self._contexts:
            self._contexts[name].stop("cancelled on request")
            return
        store = await asyncio.to_thread(self._open_store, run_uri)
        await asyncio.to_thread(ask_to_cancel, store, step, number)

    async def wait(self, name: str, timeout_s: float) -> operations_pb2.Operation:
        """The operation's state when it ends or the time is over."""
        try:
            async with asyncio.timeout(timeout_s):
                while not (operation := await self.get(name)).done:
                    await asyncio.sleep(0.5)
        except TimeoutError:
            operation = await self.get(name)
        return operation

    async def close(self) -> None:
        """Stops the work of this process; another one, or a restart, goes on with it."""
        for context in self._contexts.values():
            context.stop("the service is shutting down")
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _answer(
        self, name: str, store: Store, *, resume_cancelled: bool = False
    ) -> operations_pb2.Operation:
        run_uri, step, number = parse_operation_name(name)
        published = await asyncio.to_thread(read_published, store, step)
        if published is not None:
            manifest, ref = published
            return done_operation(name, ref, manifest)
        record = await asyncio.to_thread(read_record, store, step, number)
        if record is None:
            raise NotFound(f"no operation at attempt {number} of {step}; start it first")
        await self._note_asked(name, store, step, number)
        orphaned = record.state == "running" and (
            not is_alive(record, self._now(), lease_s=self._lease_s)
            or (record.owner == self._owner and name not in self._tasks)
        )
        if name not in self._tasks and (orphaned or (resume_cancelled and record.state == "cancelled")):
            record = record.taken_over(self._owner, self._now())
            await asyncio.to_thread(write_record, store, step, number, record)
            self._launch(name, store, record, step, number)
        attempt = artifacts_pb2.Attempt(run_uri=run_uri, step=step, number=number, run_uid=record.run_uid)
        return pending_operation(name, attempt, record, self._contexts.get(name))

    async def _note_asked(self, name: str, store: Store, step: str, number: int) -> None:
        now = self._now()
        last = self._asked.get(name)
        self._asked[name] = now
        if name not in self._tasks and (last is None or now - last > timedelta(seconds=self._lease_s)):
            await asyncio.to_thread(note_asked, store, step, number, now)

    def _launch(self, name: str, store: Store, record: OperationRecord, step: str, number: int) -> None:
        if name in self._tasks:
            # Somebody who asked at the same moment has found the record before its work was begun here.
            return
        context = OperationContext(
            store=store,
            step=step,
            attempt=number,
            writer=self._owner,
            run_uid=record.run_uid,
            loop=asyncio.get_running_loop(),
        )
        self._contexts[name] = context
        self._asked[name] = self._now()
        self._tasks[name] = asyncio.create_task(self._run(name, record, context))

    async def _run(self, name: str, record: OperationRecord, context: OperationContext) -> None:
        heartbeat = Heartbeat(
            record,
            context,
            lease_s=self._lease_s,
            abandoned_after=self._abandoned_after,
            asked=lambda: self._asked[name],
            now=self._now,
        )
        try:
            with working(record):
                ended = await asyncio.to_thread(self._work, record, context)
        finally:
            await heartbeat.stop()
        count_end(ended)
        try:
            await asyncio.to_thread(heartbeat.end, ended)
        except SelfieError:
            # The heartbeat runs out and whoever asks next takes the work over.
            log.exception("the end of an operation could not be recorded", operation=name)
        finally:
            del self._tasks[name], self._contexts[name]

    def _work(self, record: OperationRecord, context: OperationContext) -> OperationRecord:
        method = self._methods[record.method]
        try:
            request = method.request_type()
            request.ParseFromString(base64.b64decode(record.request))
            name = context.step.rpartition("/")[2]
            with attempt_span(name, run_uid=record.run_uid, step=context.step, attempt=context.attempt):
                publish(context.store, method.work(context, request))
        except Cancelled as error:
            return record.ended("cancelled", self._now(), context.progressed, error)
        except SelfieError as error:
            log.warning("operation failed", step=context.step, error=str(error))
            return record.ended("failed", self._now(), context.progressed, error)
        except Exception as error:
            log.exception("operation failed unexpectedly", step=context.step)
            return record.ended("failed", self._now(), context.progressed, SelfieError(repr(error)))
        return record.ended("succeeded", self._now(), context.progressed, None)
