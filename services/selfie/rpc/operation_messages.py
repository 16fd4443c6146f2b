"""`google.longrunning.Operation` messages from manifests and records."""

from google.longrunning import operations_pb2
from google.rpc import status_pb2

from selfie.artifacts.manifests import Manifest, ManifestRef
from selfie.artifacts.operations import OperationRecord
from selfie.rpc.errors import error_status
from selfie.rpc.operation_context import OperationContext
from selfie.v1 import artifacts_pb2


def step_result(ref: ManifestRef, manifest: Manifest) -> artifacts_pb2.StepResult:
    """What a published manifest amounts to."""
    return artifacts_pb2.StepResult(
        manifest=artifacts_pb2.ManifestRef(path=ref.path, sha256=ref.sha256),
        counts=manifest.counts,
        measures=manifest.measures,
    )


def done_operation(name: str, ref: ManifestRef, manifest: Manifest) -> operations_pb2.Operation:
    """An operation whose manifest is published."""
    operation = operations_pb2.Operation(name=name, done=True)
    operation.response.Pack(step_result(ref, manifest))
    return operation


def pending_operation(
    name: str,
    attempt: artifacts_pb2.Attempt,
    record: OperationRecord,
    context: OperationContext | None,
) -> operations_pb2.Operation:
    """An operation without a manifest: running, or ended by an error or a cancellation."""
    done, total = context.progressed if context else (record.rows_done, record.rows_total)
    metadata = artifacts_pb2.OperationMetadata(
        attempt=attempt, method=record.method, rows_done=done, rows_total=total
    )
    metadata.start_time.FromDatetime(record.started_at)
    metadata.heartbeat_time.FromDatetime(record.heartbeat_at)
    operation = operations_pb2.Operation(name=name)
    operation.metadata.Pack(metadata)
    # A record that ended well but whose manifest is not to be seen yet counts as running.
    if record.state in ("failed", "cancelled") and context is None:
        operation.done = True
        operation.error.CopyFrom(_status(record))
    return operation


def _status(record: OperationRecord) -> status_pb2.Status:
    error = record.error
    if error is None:
        return error_status("CANCELLED", "Cancelled", "stopped", retryable=True)
    return error_status(error.code, error.reason, error.message, retryable=error.retryable)
