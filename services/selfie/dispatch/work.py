"""Starts, looks at and stops the work of a step, whichever service does it.

Looking asks the service, never the store: a service that cannot be reached makes the work
*absent*, and starting it again, which costs nothing where it still runs, tells what it is.
"""

from pathlib import Path

import grpc
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.rpc import code_pb2

from selfie import errors
from selfie.artifacts.operations import operation_name
from selfie.dispatch import programs, requests
from selfie.dispatch.calls import StepCall
from selfie.rpc.channels import domain_errors
from selfie.rpc.errors import error_parts
from selfie.runs.lineage import Source
from selfie.runs.observed import WorkObserved, WorkState
from selfie.runs.steps import TRAINING, Step
from selfie.tracing.attempts import attempt_span
from selfie.v1 import (
    artifacts_pb2,
    filtering_pb2_grpc,
    generation_pb2_grpc,
    scoring_pb2_grpc,
    training_pb2,
    training_pb2_grpc,
)

CALL_SECONDS = 60
LOST = "ProcessLost"
_UNTOLD = frozenset({"tokens_per_second", "memory_bytes"})
"""Measures of a job that Prometheus is told, and people are not."""
STATES: dict[int, WorkState] = {
    training_pb2.JOB_STATE_PENDING: "pending",
    training_pb2.JOB_STATE_RUNNING: "running",
    training_pb2.JOB_STATE_SUCCEEDED: "succeeded",
    training_pb2.JOB_STATE_FAILED: "failed",
    training_pb2.JOB_STATE_CANCELLED: "absent",
}


async def start(channel: grpc.aio.Channel, call: StepCall, cache_dir: Path) -> None:
    """Starts the attempt, or takes it up again; raises the service's own error."""
    with attempt_span("start", run_uid=call.run_uid, step=call.step.path, attempt=call.attempt):
        await _start(channel, call, cache_dir)


async def _start(channel: grpc.aio.Channel, call: StepCall, cache_dir: Path) -> None:
    async with domain_errors():
        match call.step.name:
            case "generate" | "evaluate-samples" | "evaluate-initial":
                await generation_pb2_grpc.GenerationServiceStub(channel).GenerateDataset(
                    requests.generate_dataset(call), timeout=CALL_SECONDS
                )
            case "serve":
                await generation_pb2_grpc.GenerationServiceStub(channel).VerifyEngine(
                    requests.verify_engine(call), timeout=CALL_SECONDS
                )
            case "score" | "evaluate-heldout" | "evaluate-measures":
                await scoring_pb2_grpc.ScoringServiceStub(channel).ScoreDataset(
                    requests.score_dataset(call), timeout=CALL_SECONDS
                )
            case "filter":
                await filtering_pb2_grpc.FilteringServiceStub(channel).FilterDataset(
                    requests.filter_dataset(call), timeout=CALL_SECONDS
                )
            case _:
                await training_pb2_grpc.TrainingServiceStub(channel).CreateTrainingJob(
                    programs.create_job(call, cache_dir), timeout=CALL_SECONDS
                )


async def start_ahead(channel: grpc.aio.Channel, call: StepCall, source: Source) -> None:
    """Scores what is finished of ``source``, until all of it is published; see `requests.score_ahead`."""
    async with domain_errors():
        await scoring_pb2_grpc.ScoringServiceStub(channel).ScoreDataset(
            requests.score_ahead(call, source), timeout=CALL_SECONDS
        )


async def observe(channel: grpc.aio.Channel, run_uri: str, step: Step, attempt: int) -> WorkObserved:
    """How the attempt stands."""
    try:
        async with domain_errors():
            if step.service == TRAINING:
                return await _observe_job(channel, run_uri, step, attempt)
            return await _observe_operation(channel, run_uri, step, attempt)
    except (errors.NotFound, errors.Unavailable):
        return WorkObserved(step, attempt, "absent")


async def cancel(channel: grpc.aio.Channel, run_uri: str, step: Step, attempt: int) -> None:
    """Stops the attempt; one that is not there is as good as stopped."""
    name = operation_name(run_uri, step.path, attempt)
    try:
        async with domain_errors():
            if step.service == TRAINING:
                await training_pb2_grpc.TrainingServiceStub(channel).CancelTrainingJob(
                    training_pb2.CancelTrainingJobRequest(name=_job_name(name)), timeout=CALL_SECONDS
                )
            else:
                await operations_pb2_grpc.OperationsStub(channel).CancelOperation(
                    operations_pb2.CancelOperationRequest(name=name), timeout=CALL_SECONDS
                )
    except errors.NotFound:
        return


async def _observe_operation(
    channel: grpc.aio.Channel, run_uri: str, step: Step, attempt: int
) -> WorkObserved:
    request = operations_pb2.GetOperationRequest(name=operation_name(run_uri, step.path, attempt))
    operation = await operations_pb2_grpc.OperationsStub(channel).GetOperation(request, timeout=CALL_SECONDS)
    if operation.HasField("response"):
        return WorkObserved(step, attempt, "succeeded")
    if operation.done and operation.error.code == code_pb2.CANCELLED:
        return WorkObserved(step, attempt, "absent")
    if operation.done:
        reason, retryable = error_parts(operation.error)
        return WorkObserved(
            step, attempt, "failed", message=operation.error.message, reason=reason, retryable=retryable
        )
    metadata = artifacts_pb2.OperationMetadata()
    operation.metadata.Unpack(metadata)
    return WorkObserved(step, attempt, "running", done=metadata.rows_done, total=metadata.rows_total)


async def _observe_job(channel: grpc.aio.Channel, run_uri: str, step: Step, attempt: int) -> WorkObserved:
    request = training_pb2.GetTrainingJobRequest(name=_job_name(operation_name(run_uri, step.path, attempt)))
    job = await training_pb2_grpc.TrainingServiceStub(channel).GetTrainingJob(request, timeout=CALL_SECONDS)
    failed = job.state == training_pb2.JOB_STATE_FAILED
    says_why = failed or job.state == training_pb2.JOB_STATE_PENDING
    # A process that is gone without a word is started again in its attempt, from its checkpoint.
    lost = failed and job.reason == LOST
    return WorkObserved(
        step,
        attempt,
        "absent" if lost else STATES.get(job.state, "absent"),
        done=job.progress.done,
        total=job.progress.total,
        message=job.message if says_why else activity(job.progress),
        reason=job.reason,
        retryable=job.retryable,
        restarts=max(job.starts - 1, 0),
        eta_s=job.progress.eta_seconds or None,
    )


def activity(progress: training_pb2.JobProgress) -> str:
    """What a job does now, with its latest figures."""
    told = sorted((name, value) for name, value in progress.measures.items() if name not in _UNTOLD)
    figures = ", ".join(f"{name} {value:.3f}" for name, value in told)
    return f"{progress.activity} ({figures})" if figures else progress.activity


def _job_name(operation: str) -> str:
    return "jobs/" + operation.removeprefix("operations/")
