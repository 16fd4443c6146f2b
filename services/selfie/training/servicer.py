"""The training service's calls: messages in and out, and nothing else."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import grpc

from selfie.artifacts.programs import Attempt
from selfie.errors import InvalidInput
from selfie.processes.spawning import Nursery
from selfie.rpc.operation_messages import step_result
from selfie.rpc.server import Service
from selfie.rpc.stores import store_opener
from selfie.runs.programs import ProgramName
from selfie.training.core import InThreads, JobController
from selfie.training.job import Job, Jobs
from selfie.training.local import LocalProcesses
from selfie.training.metrics import WatchedJobs
from selfie.training.outcomes import Progress
from selfie.training.programs import MODULES
from selfie.training.records import job_name
from selfie.training.settings import TrainingSettings
from selfie.v1 import artifacts_pb2, training_pb2, training_pb2_grpc

SERVICE_NAME = "selfie.v1.TrainingService"
_PROGRAMS: dict[int, ProgramName] = {
    training_pb2.PROGRAM_ADOPT: "adopt",
    training_pb2.PROGRAM_PREPARE: "prepare",
    training_pb2.PROGRAM_TRAIN: "train",
    training_pb2.PROGRAM_PUBLISH: "publish",
    training_pb2.PROGRAM_RATE: "rate",
}
_PROGRAM_NUMBERS = {
    "adopt": training_pb2.PROGRAM_ADOPT,
    "prepare": training_pb2.PROGRAM_PREPARE,
    "train": training_pb2.PROGRAM_TRAIN,
    "publish": training_pb2.PROGRAM_PUBLISH,
    "rate": training_pb2.PROGRAM_RATE,
}
_STATES = {
    "pending": training_pb2.JOB_STATE_PENDING,
    "running": training_pb2.JOB_STATE_RUNNING,
    "succeeded": training_pb2.JOB_STATE_SUCCEEDED,
    "failed": training_pb2.JOB_STATE_FAILED,
    "cancelled": training_pb2.JOB_STATE_CANCELLED,
}


class TrainingServicer(training_pb2_grpc.TrainingServiceServicer):
    """Answers from whatever carries jobs out."""

    def __init__(self, jobs: Jobs, *, poll_seconds: float = 0.5) -> None:
        self._jobs = jobs
        self._poll_seconds = poll_seconds

    async def CreateTrainingJob(
        self, request: training_pb2.CreateTrainingJobRequest, context: grpc.aio.ServicerContext
    ) -> training_pb2.TrainingJob:
        job = await self._jobs.create(
            _attempt(request.attempt),
            request_id=request.request_id,
            program=_PROGRAMS[request.program],
            parameters=_parameters(request.parameters_json),
        )
        return job_message(job)

    async def GetTrainingJob(
        self, request: training_pb2.GetTrainingJobRequest, context: grpc.aio.ServicerContext
    ) -> training_pb2.TrainingJob:
        return job_message(await self._jobs.get(request.name))

    async def ListTrainingJobs(
        self, request: training_pb2.ListTrainingJobsRequest, context: grpc.aio.ServicerContext
    ) -> training_pb2.ListTrainingJobsResponse:
        jobs, token = await self._jobs.page(request.run_uri, size=request.page_size, token=request.page_token)
        return training_pb2.ListTrainingJobsResponse(
            jobs=[job_message(job) for job in jobs], next_page_token=token
        )

    async def WatchTrainingJob(
        self, request: training_pb2.WatchTrainingJobRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[training_pb2.TrainingJob]:
        last = None
        while True:
            job = await self._jobs.get(request.name)
            if job != last:
                yield job_message(job)
            if job.ended:
                return
            last = job
            await asyncio.sleep(self._poll_seconds)

    async def CancelTrainingJob(
        self, request: training_pb2.CancelTrainingJobRequest, context: grpc.aio.ServicerContext
    ) -> training_pb2.TrainingJob:
        return job_message(await self._jobs.cancel(request.name))


def job_message(job: Job) -> training_pb2.TrainingJob:
    """The job as a message."""
    record = job.record
    attempt = record.attempt
    message = training_pb2.TrainingJob(
        name=job_name(attempt),
        program=_PROGRAM_NUMBERS[record.program],
        attempt=artifacts_pb2.Attempt(
            run_uri=attempt.run_uri, step=attempt.step, number=attempt.number, run_uid=attempt.run_uid
        ),
        state=_STATES[job.state],
        starts=job.starts,
        reason=job.reason,
        message=job.message,
        retryable=job.retryable,
    )
    message.create_time.FromDatetime(record.created_at)
    if job.progress is not None:
        message.progress.CopyFrom(_progress(job.progress))
    if job.published is not None:
        message.result.CopyFrom(step_result(*job.published))
    return message


def _progress(progress: Progress) -> training_pb2.JobProgress:
    message = training_pb2.JobProgress(
        done=progress.done,
        total=progress.total,
        activity=progress.activity,
        measures=progress.measures,
        eta_seconds=progress.eta_seconds,
    )
    if progress.updated_at is not None:
        message.update_time.FromDatetime(progress.updated_at)
    return message


def _attempt(attempt: artifacts_pb2.Attempt) -> Attempt:
    return Attempt(
        run_uri=attempt.run_uri.rstrip("/"), step=attempt.step, number=attempt.number, run_uid=attempt.run_uid
    )


def _parameters(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InvalidInput("parameters_json", f"is not JSON: {error}", "send a JSON object") from error
    if not isinstance(value, dict):
        raise InvalidInput("parameters_json", f"is a {type(value).__name__}", "send a JSON object")
    return value


def training_service(settings: TrainingSettings, modules: Mapping[ProgramName, str] = MODULES) -> Service:
    """The controller's service with jobs as processes, which end with it unless told otherwise."""
    processes = LocalProcesses(
        scratch=settings.state_dir.expanduser(),
        grace_seconds=settings.grace_seconds,
        modules=modules,
        nursery=Nursery(settings.nursery) if settings.nursery else None,
    )
    controller = JobController(open_store=store_opener(settings.artifact_roots), processes=processes)

    async def close() -> None:
        if not settings.leave_jobs:
            await asyncio.to_thread(controller.close)

    return service_of(InThreads(controller), settings, close)


def service_of(jobs: Jobs, settings: TrainingSettings, close: Callable[[], Awaitable[None]]) -> Service:
    """The service that answers for these jobs; ``close`` ends what they hold."""
    servicer = TrainingServicer(WatchedJobs(jobs), poll_seconds=settings.poll_seconds)

    def register(server: grpc.aio.Server) -> None:
        training_pb2_grpc.add_TrainingServiceServicer_to_server(servicer, server)

    return Service(names=(SERVICE_NAME,), register=register, close=close)
