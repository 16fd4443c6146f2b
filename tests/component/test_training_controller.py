"""The training controller over gRPC, with real processes that stand in for the programs."""

import asyncio
import json
import os
import signal
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from selfie.artifacts.store import open_store
from selfie.processes.births import process_birth
from selfie.rpc.server import RunningServer
from selfie.training.local import LocalProcesses
from selfie.training.records import ProcessId, read_record
from selfie.training.servicer import training_service
from selfie.training.settings import TrainingSettings
from selfie.v1 import artifacts_pb2, training_pb2, training_pb2_grpc

Controller = Callable[..., AbstractAsyncContextManager[Any]]
RUNNING = training_pb2.JOB_STATE_RUNNING
SUCCEEDED, FAILED = training_pb2.JOB_STATE_SUCCEEDED, training_pb2.JOB_STATE_FAILED
CANCELLED = training_pb2.JOB_STATE_CANCELLED
STEP = "rounds/01/train"

# A program as small as it can be: it does what its parameters say, and leaves what programs leave.
PROGRAM = """
import json, pathlib, signal, sys, time
parameters = json.load(open(sys.argv[sys.argv.index("--parameters") + 1]))
attempt = parameters["attempt"]
root = pathlib.Path(attempt["runUri"].removeprefix("file://"))
here = root / attempt["step"] / ("a%d" % attempt["number"])

def write(path, value):
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(value))
    partial.replace(path)

if parameters["behaviour"] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("line 1 of the log", flush=True)
with open(here / "starts.txt", "a") as starts:
    starts.write("x")
write(here / "progress.json", {"done": 3, "total": 9, "activity": "training", "measures": {"loss": 0.5},
      "updatedAt": "2026-01-01T00:00:00+00:00", "etaSeconds": 12.0})
if parameters["behaviour"] == "fail":
    for line in range(2, 40):
        print("line", line, "of the log")
    error = {"reason": "ParityBroken", "message": "too far apart", "retryable": True}
    write(here / "error.json", {"error": error})
    sys.exit(1)
if parameters["behaviour"] == "crash":
    sys.exit(3)
while parameters["behaviour"] != "publish" and not (here / "go").exists():
    time.sleep(0.02)
now = "2026-01-01T00:00:00Z"
write(root / attempt["step"] / "manifest.json", {"schemaVersion": 1, "runUid": attempt["runUid"], "round": 1,
      "step": attempt["step"], "attempt": attempt["number"], "writer": "w", "counts": {"pairs": 4},
      "measures": {"loss_last": 0.25}, "startedAt": now, "finishedAt": now})
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "toy_program.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path / "runs" / "run"


@pytest.fixture
def controller(tmp_path: Path, root: Path) -> Controller:
    @asynccontextmanager
    async def serving(**changes: Any) -> AsyncIterator[Any]:
        settings = TrainingSettings(
            artifact_roots=(f"file://{root.parent}",),
            state_dir=tmp_path / "state",
            poll_seconds=0.02,
            drain_seconds=0,
            **({"grace_seconds": 5.0} | changes),
        )
        modules = dict.fromkeys(("train", "prepare"), "toy_program")
        server = RunningServer(settings, training_service(settings, modules))
        await server.start()
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{server.port}")
        try:
            yield training_pb2_grpc.TrainingServiceStub(channel)
        finally:
            await channel.close()
            await server.stop()

    return serving


def creation(root: Path, behaviour: str = "wait", **changes: Any) -> training_pb2.CreateTrainingJobRequest:
    number, program = changes.pop("number", 1), changes.pop("program", training_pb2.PROGRAM_TRAIN)
    attempt = artifacts_pb2.Attempt(run_uri=f"file://{root}", step=STEP, number=number, run_uid="uid-1")
    request_id = changes.pop("request_id", str(uuid.uuid5(uuid.NAMESPACE_URL, f"attempt-{number}")))
    return training_pb2.CreateTrainingJobRequest(
        request_id=request_id,
        attempt=attempt,
        program=program,
        parameters_json=json.dumps({"behaviour": behaviour, **changes}),
    )


async def until(stub: Any, name: str, reached: Callable[[Any], bool], seconds: float = 20) -> Any:
    async with asyncio.timeout(seconds):
        while not reached(job := await stub.GetTrainingJob(training_pb2.GetTrainingJobRequest(name=name))):
            await asyncio.sleep(0.02)
    return job


async def started(stub: Any, request: training_pb2.CreateTrainingJobRequest) -> Any:
    """The job, once its program has said how far it is."""
    job = await stub.CreateTrainingJob(request)
    return await until(stub, job.name, lambda job: job.progress.done == 3)


def process_of(root: Path, number: int = 1) -> int:
    record = read_record(open_store(f"file://{root}"), STEP, number)
    assert record is not None
    assert record.process is not None
    return record.process.pid


async def refused(call: Awaitable[Any]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_a_job_runs_its_program_and_ends_with_the_steps_result(
    controller: Controller, root: Path
) -> None:
    async with controller() as stub:
        job = await started(stub, creation(root))
        assert (job.state, job.starts, job.program) == (RUNNING, 1, training_pb2.PROGRAM_TRAIN)
        assert (job.progress.total, job.progress.measures["loss"], job.progress.eta_seconds) == (9, 0.5, 12.0)
        (root / STEP / "a1" / "go").touch()
        job = await until(stub, job.name, lambda job: job.state == SUCCEEDED)
        assert job.result.manifest.path == f"{STEP}/manifest.json"
        assert job.result.counts["pairs"] == 4
        assert (root / STEP / "a1" / "log.txt").read_text() == "line 1 of the log\n"


async def test_creating_an_attempt_again_returns_the_job_that_it_has(
    controller: Controller, root: Path
) -> None:
    async with controller() as stub:
        first = await started(stub, creation(root))
        jobs = await asyncio.gather(*(stub.CreateTrainingJob(creation(root)) for _ in range(5)))
        other = await stub.CreateTrainingJob(creation(root, request_id=str(uuid.uuid4())))
        assert {(job.name, job.starts, job.state) for job in (*jobs, other)} == {(first.name, 1, RUNNING)}
        assert (root / STEP / "a1" / "starts.txt").read_text() == "x"


async def test_two_controllers_that_are_asked_at_once_start_one_process(
    controller: Controller, root: Path
) -> None:
    async with controller() as one, controller() as other:
        await asyncio.gather(*(stub.CreateTrainingJob(creation(root)) for stub in (one, other) * 3))
        job = await started(one, creation(root))
        assert job.starts == 1
        assert (root / STEP / "a1" / "starts.txt").read_text() == "x"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"learningRate": 1}, "parameters_json.learningRate"),
        ({"behaviour": "crash"}, "parameters_json.behaviour"),
        ({"program": training_pb2.PROGRAM_PREPARE}, "program"),
    ],
    ids=str,
)
async def test_the_same_attempt_with_other_parameters_is_refused_by_their_names(
    controller: Controller, root: Path, changes: dict[str, Any], named: str
) -> None:
    async with controller() as stub:
        await stub.CreateTrainingJob(creation(root))
        error = await refused(stub.CreateTrainingJob(creation(root, **changes)))
        assert error.code() == grpc.StatusCode.ALREADY_EXISTS
        assert f"another {named}; start another attempt" in (error.details() or "")


async def test_a_program_that_fails_is_quoted_with_its_last_lines(controller: Controller, root: Path) -> None:
    async with controller() as stub:
        job = await stub.CreateTrainingJob(creation(root, "fail"))
        job = await until(stub, job.name, lambda job: job.state == FAILED)
        lines = job.message.splitlines()
        assert lines[0] == "ParityBroken: too far apart"
        assert (len(lines), lines[2], lines[-1]) == (22, "line 20 of the log", "line 39 of the log")
        assert job.retryable
        assert (await stub.CreateTrainingJob(creation(root, "fail"))).state == FAILED


async def test_a_killed_process_is_lost_and_the_same_request_starts_it_again(
    controller: Controller, root: Path
) -> None:
    async with controller() as stub:
        job = await started(stub, creation(root))
        os.kill(process_of(root), signal.SIGKILL)
        job = await until(stub, job.name, lambda job: job.state == FAILED)
        assert job.message.startswith("ProcessLost: ")
        assert job.retryable
        other = await stub.CreateTrainingJob(creation(root, request_id=str(uuid.uuid4())))
        assert (other.state, other.starts) == (FAILED, 1)
        again = await stub.CreateTrainingJob(creation(root))
        assert (again.state, again.starts) == (RUNNING, 2)
        (root / STEP / "a1" / "go").touch()
        await until(stub, job.name, lambda job: job.state == SUCCEEDED)


async def test_a_program_that_ends_without_a_word_is_lost(controller: Controller, root: Path) -> None:
    async with controller() as stub:
        job = await stub.CreateTrainingJob(creation(root, "crash"))
        job = await until(stub, job.name, lambda job: job.state == FAILED)
        assert job.message.startswith("ProcessLost: ")
        assert job.message.endswith("line 1 of the log")


async def test_a_cancelled_job_stops_and_goes_on_when_created_again(
    controller: Controller, root: Path
) -> None:
    async with controller() as stub:
        job = await started(stub, creation(root))
        pid = process_of(root)
        job = await stub.CancelTrainingJob(training_pb2.CancelTrainingJobRequest(name=job.name))
        assert job.state == CANCELLED
        assert process_birth(pid) is None
        again = await stub.CreateTrainingJob(creation(root))
        assert (again.state, again.starts) == (RUNNING, 2)


async def test_a_program_that_ignores_sigterm_is_killed(controller: Controller, root: Path) -> None:
    async with controller(grace_seconds=0.2) as stub:
        job = await started(stub, creation(root, "stubborn"))
        job = await stub.CancelTrainingJob(training_pb2.CancelTrainingJobRequest(name=job.name))
        assert job.state == CANCELLED
        assert process_birth(process_of(root)) is None


async def test_cancelling_what_has_ended_changes_nothing(controller: Controller, root: Path) -> None:
    async with controller() as stub:
        job = await stub.CreateTrainingJob(creation(root, "publish"))
        await until(stub, job.name, lambda job: job.state == SUCCEEDED)
        job = await stub.CancelTrainingJob(training_pb2.CancelTrainingJobRequest(name=job.name))
        assert job.state == SUCCEEDED


async def test_a_restarted_controller_knows_the_jobs_of_the_one_before(
    controller: Controller, root: Path
) -> None:
    async with controller(leave_jobs=True) as stub:
        job = await started(stub, creation(root))
    pid = process_of(root)
    async with controller() as stub:
        found = await stub.GetTrainingJob(training_pb2.GetTrainingJobRequest(name=job.name))
        assert (found.state, found.starts, found.create_time) == (RUNNING, 1, job.create_time)
        assert (await stub.CreateTrainingJob(creation(root))).starts == 1
        assert process_of(root) == pid
        (root / STEP / "a1" / "go").touch()
        await until(stub, job.name, lambda job: job.state == SUCCEEDED)


async def test_a_controller_that_ends_stops_its_jobs_which_another_one_starts_again(
    controller: Controller, root: Path
) -> None:
    async with controller() as stub:
        job = await started(stub, creation(root))
        pid = process_of(root)
    assert process_birth(pid) is None
    async with controller() as stub:
        found = await stub.GetTrainingJob(training_pb2.GetTrainingJobRequest(name=job.name))
        assert found.state == CANCELLED
        assert (await stub.CreateTrainingJob(creation(root))).starts == 2


async def test_a_controller_that_ends_stops_jobs_of_a_deleted_run_too(
    controller: Controller, root: Path
) -> None:
    async with controller() as stub:
        await started(stub, creation(root))
        pid = process_of(root)
        (root / STEP / "a1" / "job.json").unlink()
    assert process_birth(pid) is None


async def test_watching_tells_every_change_until_the_end(controller: Controller, root: Path) -> None:
    async with controller() as stub:
        job = await started(stub, creation(root))
        seen = []
        async with asyncio.timeout(20):
            async for change in stub.WatchTrainingJob(training_pb2.WatchTrainingJobRequest(name=job.name)):
                seen.append(change.state)
                (root / STEP / "a1" / "go").touch()
        assert seen == [RUNNING, SUCCEEDED]


async def test_watching_ends_at_its_deadline(controller: Controller, root: Path) -> None:
    async with controller() as stub:
        job = await started(stub, creation(root))
        request = training_pb2.WatchTrainingJobRequest(name=job.name)
        began = time.monotonic()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in stub.WatchTrainingJob(request, timeout=0.3):
                pass
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert time.monotonic() - began < 10


async def test_jobs_of_a_run_are_listed_page_by_page(controller: Controller, root: Path) -> None:
    async with controller() as stub:
        for number in (1, 2, 3):
            await stub.CreateTrainingJob(creation(root, "crash", number=number))
        request = training_pb2.ListTrainingJobsRequest(run_uri=f"file://{root}", page_size=2)
        first = await stub.ListTrainingJobs(request)
        request.page_token = first.next_page_token
        second = await stub.ListTrainingJobs(request)
        assert [job.attempt.number for page in (first, second) for job in page.jobs] == [1, 2, 3]
        assert (len(first.jobs), second.next_page_token) == (2, "")
        request.page_token = "%%%"
        assert (await refused(stub.ListTrainingJobs(request))).code() == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{not json", "is not JSON"),
        ("[1]", "is a list"),
        ('{"attempt": {"number": 7}}', "is not the request's attempt"),
    ],
)
async def test_parameters_that_are_none_are_refused(
    controller: Controller, root: Path, text: str, problem: str
) -> None:
    request = creation(root)
    request.parameters_json = text
    async with controller() as stub:
        error = await refused(stub.CreateTrainingJob(request))
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert problem in (error.details() or "")


async def test_unknown_jobs_and_foreign_stores_are_refused(controller: Controller, root: Path) -> None:
    async with controller() as stub:
        job = await stub.CreateTrainingJob(creation(root, "crash"))
        unknown = training_pb2.GetTrainingJobRequest(name="jobs/bm90aGluZw")
        assert (await refused(stub.GetTrainingJob(unknown))).code() == grpc.StatusCode.INVALID_ARGUMENT
        foreign = creation(root.parent.parent / "elsewhere")
        assert (await refused(stub.CreateTrainingJob(foreign))).code() == grpc.StatusCode.INVALID_ARGUMENT
        (root / STEP / "a1" / "job.json").unlink()
        missing = training_pb2.GetTrainingJobRequest(name=job.name)
        assert (await refused(stub.GetTrainingJob(missing))).code() == grpc.StatusCode.NOT_FOUND


def test_a_process_is_told_from_a_later_one_of_the_same_number(tmp_path: Path) -> None:
    processes = LocalProcesses(scratch=tmp_path)
    birth = process_birth(os.getpid())
    assert birth is not None
    assert processes.is_alive(ProcessId(pid=os.getpid(), birth=birth))
    assert not processes.is_alive(ProcessId(pid=os.getpid(), birth="another boot/1"))
    assert process_birth(2**22 + 1) is None
