"""Starting, looking at and stopping the work of a step, over a real port against a toy service."""

from pathlib import Path

import pytest
from google.longrunning import operations_pb2

from selfie import errors
from selfie.artifacts.operations import operation_name
from selfie.dispatch import work
from selfie.dispatch.calls import StepCall
from selfie.rpc.channels import connect
from selfie.rpc.errors import error_status
from selfie.runs.lineage import Input, Source, sources_of
from selfie.runs.load import parse_run
from selfie.runs.steps import Step, step_at
from selfie.v1 import artifacts_pb2, training_pb2

URI = "file:///runs/toy"
SCORE, TRAIN = Step(1, "score"), Step(1, "train")
RUN = parse_run(
    """
apiVersion: selfie.dev/v1alpha1
kind: SelfieRun
metadata: {name: toy}
spec:
  model: {uri: builtin://toy}
  seed: {dataset: seed.jsonl, heldout: heldout.jsonl}
  rounds:
  - prompts: {dataset: prompts.jsonl}
  evaluation:
    prompts: {dataset: prompts.jsonl}
"""
)


def call_of(step: Step) -> StepCall:
    inputs = {
        role: Input(source, "a" * 64, "b" * 64) for role, source in sources_of(RUN.spec, step, ()).items()
    }
    return StepCall(RUN, URI, "uid", step, 1, inputs)


def running(done: int, total: int) -> operations_pb2.Operation:
    operation = operations_pb2.Operation(name="operations/x")
    operation.metadata.Pack(artifacts_pb2.OperationMetadata(rows_done=done, rows_total=total))
    return operation


def succeeded() -> operations_pb2.Operation:
    operation = operations_pb2.Operation(name="operations/x", done=True)
    operation.response.Pack(artifacts_pb2.StepResult())
    return operation


def failed(code: str, reason: str, *, retryable: bool) -> operations_pb2.Operation:
    status = error_status(code, reason, "the words for people", retryable=retryable)
    return operations_pb2.Operation(name="operations/x", done=True, error=status)


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("prepare", "CreateTrainingJob"),
        ("rounds/00/seed", "CreateTrainingJob"),
        ("rounds/01/train", "CreateTrainingJob"),
        ("rounds/01/publish", "CreateTrainingJob"),
        ("rounds/01/serve", "VerifyEngine"),
        ("rounds/01/generate", "GenerateDataset"),
        ("rounds/01/evaluate-samples", "GenerateDataset"),
        ("rounds/01/score", "ScoreDataset"),
        ("rounds/01/evaluate-heldout", "ScoreDataset"),
        ("rounds/01/evaluate-measures", "ScoreDataset"),
        ("rounds/01/filter", "FilterDataset"),
    ],
)
async def test_every_step_is_started_at_its_own_service_within_the_bounds_of_the_protos(
    serve, make_toy, path, method
):
    toy = make_toy()
    step = step_at(path)
    await work.start(await serve(toy), call_of(step), Path("/cache"))
    assert [(name, request.attempt.step) for name, request in toy.asked] == [(method, path)]


async def test_what_is_done_ahead_is_asked_for_beside_its_source_and_for_the_same_task(serve, make_toy):
    toy = make_toy()
    channel = await serve(toy)
    await work.start(channel, call_of(SCORE), Path("/cache"))
    await work.start_ahead(channel, call_of(SCORE), Source("rounds/01/generate", "samples"))
    (_, itself), (method, ahead) = toy.asked
    assert method == "ScoreDataset"
    assert (ahead.attempt.step, ahead.attempt.number) == ("rounds/01/score/ahead", 1)
    assert (ahead.unpublished.step, ahead.unpublished.attempt) == ("rounds/01/generate", 1)
    assert ahead.request_id != itself.request_id
    for request in (itself, ahead):
        for field in ("request_id", "attempt", "input", "unpublished"):
            request.ClearField(field)
    assert ahead == itself


async def test_a_service_that_refuses_is_heard_as_the_error_that_it_raised(serve, make_toy):
    toy = make_toy(operation=errors.FailedPrecondition("OtherWeightsResident", "holds others"))
    with pytest.raises(errors.FailedPrecondition) as caught:
        await work.start(await serve(toy), call_of(SCORE), Path("/cache"))
    assert caught.value.reason == "OtherWeightsResident"


async def test_running_work_tells_its_rows(serve, make_toy):
    toy = make_toy(operation=running(3, 8))
    found = await work.observe(await serve(toy), URI, SCORE, 2)
    assert (found.state, found.done, found.total, found.attempt) == ("running", 3, 8, 2)
    assert toy.asked[0][1].name == operation_name(URI, SCORE.path, 2)


async def test_work_with_a_result_has_succeeded(serve, make_toy):
    assert (
        await work.observe(await serve(make_toy(operation=succeeded())), URI, SCORE, 1)
    ).state == "succeeded"


@pytest.mark.parametrize(
    ("code", "reason", "retryable"),
    [("UNAVAILABLE", "Unavailable", True), ("FAILED_PRECONDITION", "SampledByOtherWeights", False)],
)
async def test_failed_work_says_why_and_whether_trying_again_can_help(
    serve, make_toy, code, reason, retryable
):
    toy = make_toy(operation=failed(code, reason, retryable=retryable))
    found = await work.observe(await serve(toy), URI, SCORE, 1)
    assert (found.state, found.reason, found.retryable) == ("failed", reason, retryable)
    assert found.message == "the words for people"


async def test_cancelled_work_counts_as_absent_so_that_it_can_be_taken_up_again(serve, make_toy):
    toy = make_toy(operation=failed("CANCELLED", "Cancelled", retryable=True))
    assert (await work.observe(await serve(toy), URI, SCORE, 1)).state == "absent"


@pytest.mark.parametrize("step", [SCORE, TRAIN], ids=["operation", "job"])
async def test_work_that_nobody_knows_is_absent(serve, make_toy, gone, step):
    channel = await serve(make_toy(operation=gone, job=gone))
    assert (await work.observe(channel, URI, step, 1)).state == "absent"


@pytest.mark.parametrize("step", [SCORE, TRAIN], ids=["operation", "job"])
async def test_work_at_a_service_that_cannot_be_reached_is_absent(unused_tcp_port, step):
    channel = connect(f"127.0.0.1:{unused_tcp_port}")
    found = await work.observe(channel, URI, step, 1)
    await channel.close()
    assert (found.state, found.step, found.attempt) == ("absent", step, 1)


async def test_a_running_job_tells_what_it_does_with_its_figures_and_when_it_will_be_done(serve, make_toy):
    progress = training_pb2.JobProgress(
        done=2, total=9, activity="training", measures={"loss": 0.5, "accuracy": 0.75}, eta_seconds=12
    )
    job = training_pb2.TrainingJob(state=training_pb2.JOB_STATE_RUNNING, progress=progress, starts=3)
    toy = make_toy(job=job)
    found = await work.observe(await serve(toy), URI, TRAIN, 1)
    assert (found.state, found.done, found.total, found.eta_s) == ("running", 2, 9, 12)
    assert found.message == "training (accuracy 0.750, loss 0.500)"
    assert found.restarts == 2
    name = operation_name(URI, TRAIN.path, 1).removeprefix("operations/")
    assert toy.asked[0][1].name == f"jobs/{name}"


async def test_a_failed_job_quotes_its_message_and_not_what_it_did_last(serve, make_toy):
    job = training_pb2.TrainingJob(
        state=training_pb2.JOB_STATE_FAILED,
        message="out of memory\nlast line",
        retryable=True,
        progress=training_pb2.JobProgress(activity="training"),
    )
    found = await work.observe(await serve(make_toy(job=job)), URI, TRAIN, 1)
    assert (found.state, found.message, found.retryable) == ("failed", "out of memory\nlast line", True)


@pytest.mark.parametrize(
    ("state", "seen"),
    [
        (training_pb2.JOB_STATE_PENDING, "pending"),
        (training_pb2.JOB_STATE_SUCCEEDED, "succeeded"),
        (training_pb2.JOB_STATE_CANCELLED, "absent"),
        (training_pb2.JOB_STATE_UNSPECIFIED, "absent"),
    ],
)
async def test_a_jobs_state_is_the_planners_state(serve, make_toy, state, seen):
    channel = await serve(make_toy(job=training_pb2.TrainingJob(state=state)))
    found = await work.observe(channel, URI, TRAIN, 1)
    assert (found.state, found.eta_s) == (seen, None)


@pytest.mark.parametrize(
    ("step", "method"), [(SCORE, "CancelOperation"), (TRAIN, "CancelTrainingJob")], ids=["operation", "job"]
)
async def test_work_is_stopped_at_its_own_service(serve, make_toy, step, method):
    toy = make_toy()
    await work.cancel(await serve(toy), URI, step, 1)
    assert [name for name, _ in toy.asked] == [method]


@pytest.mark.parametrize("step", [SCORE, TRAIN], ids=["operation", "job"])
async def test_stopping_what_is_not_there_is_no_error(serve, make_toy, gone, step):
    toy = make_toy(operation=gone, job=gone)
    await work.cancel(await serve(toy), URI, step, 1)
    assert len(toy.asked) == 1
