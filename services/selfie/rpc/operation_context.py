"""What the work behind a batch call gets: its store, its shards, its progress, its stop."""

import asyncio
import re
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future
from datetime import UTC, datetime
from typing import Any, TypeVar

import pyarrow as pa

from selfie.artifacts.manifests import FileEntry, Manifest
from selfie.artifacts.shards import finish_shard, finished_shards
from selfie.artifacts.store import Store
from selfie.errors import Cancelled

T = TypeVar("T")


class OperationContext:
    """One attempt being worked on, in a worker thread.

    ``progressed`` is (rows done, rows in all); the second is 0 while unknown.
    """

    def __init__(
        self,
        *,
        store: Store,
        step: str,
        attempt: int,
        writer: str,
        run_uid: str,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.store = store
        self.step = step
        self.attempt = attempt
        self.writer = writer
        self.run_uid = run_uid
        self.progressed = (0, 0)
        self._loop = loop
        self._stopped: str | None = None
        self._waiting: Future[Any] | None = None
        self._started_at = datetime.now(UTC)

    @property
    def attempt_path(self) -> str:
        """Directory of the attempt under the run's root."""
        return f"{self.step}/a{self.attempt}"

    @property
    def round(self) -> int:
        """Round that the step belongs to; 0 for the seed round and for `prepare`."""
        found = re.match(r"rounds/(\d+)/", self.step)
        return int(found[1]) if found else 0

    def stop(self, why: str) -> None:
        """Makes the work raise `Cancelled` at its next sign of progress, or out of what it waits for."""
        self._stopped = why
        if self._waiting is not None:
            self._waiting.cancel()

    def progress(self, done: int, total: int) -> None:
        """Tells how far the work is, in rows, and stops it when that was asked for."""
        self.progressed = (done, total)
        if self._stopped is not None:
            raise Cancelled(self._stopped)

    def wait_for(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the server's event loop and waits for it in this thread.

        It is cancelled when the work is stopped: an engine that has gone with its run would be
        waited for, with a live heartbeat, while another process could go on.
        """
        waiting = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        self._waiting = waiting
        if self._stopped is not None:
            waiting.cancel()
        try:
            return waiting.result()
        except CancelledError:
            raise Cancelled(self._stopped or "the service is shutting down") from None
        finally:
            self._waiting = None

    def finished_shards(self, group: str) -> dict[int, FileEntry]:
        """Shards of the group that this attempt has already written, by index."""
        return finished_shards(self.store, self.attempt_path, group)

    def write_shard(self, table: pa.Table, *, schema: pa.Schema, group: str, index: int) -> FileEntry:
        """Writes one shard, which is then finished."""
        path = f"{self.attempt_path}/{group}-{index:05d}-{self.writer}.parquet"
        name = f"{group}-{index:05d}.parquet"
        return finish_shard(self.store, path, table, schema=schema, group=group, name=name)

    def manifest(self, **fields: Any) -> Manifest:
        """A manifest of this attempt, from the caller's fields and what is known here."""
        return Manifest(
            run_uid=self.run_uid,
            round=self.round,
            step=self.step,
            attempt=self.attempt,
            writer=self.writer,
            started_at=self._started_at,
            finished_at=datetime.now(UTC),
            **fields,
        )
