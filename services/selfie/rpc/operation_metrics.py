"""Batch work of this process for Prometheus."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Gauge

from selfie.artifacts.operations import OperationRecord

RUNNING = Gauge("selfie_operations_running", "Batch operations that this process works on.", ["method"])
ENDED = Counter(
    "selfie_operations_ended",
    "Batch operations that ended here; reason is empty unless they failed or were stopped.",
    ["method", "state", "reason"],
)


@contextmanager
def working(record: OperationRecord) -> Iterator[None]:
    """Counts the operation as worked on while inside."""
    gauge = RUNNING.labels(record.method)
    with gauge.track_inprogress():
        yield


def count_end(record: OperationRecord) -> None:
    """Counts one that has ended."""
    ENDED.labels(record.method, record.state, record.error.reason if record.error else "").inc()
