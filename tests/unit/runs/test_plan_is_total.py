"""Whatever is observed, there is a plan, it is the same every time, and its status can be stored."""

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfie.runs.actions import StartStep
from selfie.runs.conditions import Condition
from selfie.runs.load import parse_run
from selfie.runs.observed import ManifestSummary, Observed, ServiceObserved, StoreObserved, WorkObserved
from selfie.runs.operation_fields import Deadlines
from selfie.runs.plan import plan
from selfie.runs.reasons import OF_STAGE
from selfie.runs.status import Failures, RunStatus, object_of_status, status_from_object
from selfie.runs.steps import SERVICE_OF, Step, steps_of

SPEC = parse_run("""
apiVersion: selfie.dev/v1alpha1
kind: SelfieRun
metadata: {name: random}
spec:
  model: {uri: hf://toy/model}
  seed: {dataset: seed.jsonl, heldout: heldout.jsonl, size: 8}
  rounds: [{prompts: {dataset: a.jsonl}}, {prompts: {dataset: b.jsonl}}]
  evaluation:
    prompts: {dataset: c.jsonl}
    evaluator: bradleyTerry
    gates: {onBreach: fallBack, maxAccuracyDrop: "0.05", maxDivergence: "1", maxLengthRatio: "2"}
""").spec
PATHS = [step.path for step in steps_of(SPEC)]


def built(record, **fields):
    """Only the given fields; `st.builds` would invent the others from their annotations."""
    return st.fixed_dictionaries(fields).map(lambda values: record(**values))


times = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))
words = st.one_of(st.text(max_size=30), st.sampled_from([*OF_STAGE.values(), "Queued", "WaitingForCapacity"]))
steps = st.one_of(
    st.sampled_from(steps_of(SPEC)),
    st.builds(Step, st.integers(0, 99), st.sampled_from(sorted(SERVICE_OF))),
)
measures = st.sampled_from(
    [
        {},
        {
            "accuracy": 0.6,
            "accuracy_low": 0.5,
            "accuracy_high": 1.2,
            "n": 64.0,
            "mean_tokens": 40.0,
            "divergence": 0.1,
        },
        {
            "accuracy": math.nan,
            "accuracy_gate": 0.7,
            "divergence": math.inf,
            "n": -3.5,
            "noisy_share": math.nan,
        },
        {"loss": -math.inf, "z_ones": 1e300, "noisy_share": 2.0, "finished_share": -1.0, "mean_tokens": 1e30},
    ]
)
summaries = st.builds(
    ManifestSummary,
    sha256=st.just("a" * 64),
    counts=st.sampled_from(
        [{}, {"kept": 3}, {f"reason {n} " + "x" * 90: -n for n in range(30)} | {"kept": 2**80}]
    ),
    measures=measures,
    digests=st.sampled_from(
        [
            {},
            {"checkpoint": "b" * 64},
            {"checkpoint": "c" * 400},
            {"model": "d" * 64, "reference": "e" * 64},
            {"model": "d" * 64, "reference": ""},
        ]
    ),
    attempt=st.integers(0, 5),
    seconds=st.sampled_from([None, 2.0, math.nan, math.inf, -1.0]),
)
works = st.builds(
    WorkObserved,
    step=steps,
    attempt=st.integers(0, 3),
    state=st.sampled_from(["absent", "pending", "running", "succeeded", "failed"]),
    done=st.integers(-5, 100),
    total=st.integers(-5, 100),
    message=st.text(max_size=3000),
    reason=words,
    retryable=st.booleans(),
    restarts=st.integers(-1, 9),
    eta_s=st.sampled_from([None, 3.0, math.nan, math.inf, -1.0]),
)
services = st.builds(
    ServiceObserved,
    ready=st.booleans(),
    digests=st.dictionaries(st.sampled_from(["policy", "reference"]), st.text(max_size=5)),
    reason=words,
    message=st.text(max_size=50),
)
stores = st.builds(StoreObserved, ready=st.booleans(), reason=words, message=st.text(max_size=50))
paths = st.one_of(st.sampled_from(PATHS), st.text(max_size=10))
named = st.sampled_from(["engine", "generation", "scoring", "filtering", "training", "other"])
observations = st.builds(
    Observed,
    store=stores,
    manifests=st.dictionaries(paths, summaries, max_size=5),
    work=st.one_of(st.none(), works),
    services=st.dictionaries(named, services),
    generation=st.integers(-1, 2**40),
)
conditions = built(
    Condition,
    type=st.sampled_from(["Succeeded", "Complete", "Failed", "Suspended", "Reconciling"]),
    status=st.sampled_from(["True", "False", "Unknown"]),
    reason=st.sampled_from(["Pending", "ManifestNotYetSeen", "Queued"]),
    last_transition_time=times,
)
failures = built(
    Failures,
    count=st.integers(0, 10_000),
    attempt=st.integers(0, 5),
    last_failure_time=times,
    reason=words,
    message=words,
    retryable=st.booleans(),
)
statuses = built(
    RunStatus,
    conditions=st.lists(conditions, max_size=5, unique_by=lambda entry: entry.type).map(tuple),
    reason_since=st.one_of(st.none(), times),
    round=st.integers(0, 5),
    stage=st.one_of(st.none(), st.sampled_from(sorted(OF_STAGE))),
    step=st.one_of(st.none(), st.sampled_from(PATHS), st.text(max_size=20)),
    progress=st.sampled_from(["", "3/25"]),
    progress_time=st.one_of(st.none(), times),
    attempt=st.integers(0, 10_000) | st.integers(0, 3),
    failures=st.one_of(st.none(), failures),
    start_time=st.one_of(st.none(), times),
    stage_start_time=st.one_of(st.none(), times),
    paused_since=st.one_of(st.none(), times),
    paused_seconds=st.floats(0, 1e6),
    stage_paused_seconds=st.floats(0, 1e6),
)
specs = st.fixed_dictionaries(
    {
        "suspend": st.booleans(),
        "cancel": st.sampled_from([False, False, True]),
        "gpu": st.sampled_from(["shared", "separate"]),
        "retries": st.integers(0, 3),
        "ttl_seconds_after_finished": st.one_of(st.none(), st.integers(0, 100)),
        "deadlines": st.sampled_from([Deadlines(), Deadlines(run_seconds=10**7, stage_seconds=10**6)]),
    }
).map(lambda values: SPEC.model_copy(update=values))


DIGEST = "b" * 64


@st.composite
def plausible(draw):
    """Facts that belong together, so that the rules about the present step are asked as well."""
    count = draw(st.integers(0, len(PATHS)))
    step = steps_of(SPEC)[min(count, len(PATHS) - 1)]
    every = {"checkpoint": DIGEST, "model": DIGEST, "reference": DIGEST}
    manifests = {path: replace(draw(summaries), digests=every) for path in PATHS[:count]}
    roles = {"engine": ("policy",), "scoring": ("policy", "reference")}
    serving = {
        name: ServiceObserved(ready=draw(st.booleans()), digests=dict.fromkeys(roles.get(name, ()), DIGEST))
        for name in draw(st.sets(named))
    }
    attempt = draw(st.integers(1, 3))
    status = draw(statuses).model_copy(
        update={
            "step": step.path,
            "stage": step.stage,
            "round": step.round,
            "attempt": attempt,
            "conditions": (),
        }
    )
    work = st.one_of(st.none(), works.map(lambda found: replace(found, step=step, attempt=attempt)))
    observed = Observed(manifests=manifests, work=draw(work), services=serving)
    spec = draw(specs).model_copy(update={"suspend": False, "cancel": False})
    return spec, status, observed, draw(times)


facts = st.one_of(plausible(), st.tuples(specs, statuses, observations, times))


@settings(max_examples=200, deadline=None)
@given(facts)
def test_there_is_a_plan_for_everything_and_always_the_same_one(given_facts):
    spec, status, observed, now = given_facts
    decided = plan(spec, status, observed, now)
    assert plan(spec, status, observed, now) == decided
    assert plan(spec, decided.status, observed, now).status == decided.status, "another look changes nothing"


@settings(max_examples=100, deadline=None)
@given(facts)
def test_every_status_survives_json_and_stays_small(given_facts):
    decided = plan(*given_facts).status
    text = json.dumps(object_of_status(decided), allow_nan=False)
    assert status_from_object(json.loads(text)) == decided
    assert len(text) < 32 * 1024


@settings(max_examples=100, deadline=None)
@given(facts)
def test_conditions_never_contradict_each_other(given_facts):
    before, decided = given_facts[1], plan(*given_facts).status
    if before.is_terminal:
        assert decided == before
        return
    state = {entry.type: entry.status for entry in decided.conditions}
    assert len(state) == len(decided.conditions) == 7
    assert (state["Complete"], state["Failed"]) != ("True", "True")
    assert (state["Succeeded"] == "True") == (state["Complete"] == "True")
    assert (state["Succeeded"] == "False") == (state["Failed"] == "True")
    assert (state["Reconciling"], state["Stalled"]) != ("True", "True")
    assert decided.is_terminal == (decided.completion_time is not None)


@settings(max_examples=100, deadline=None)
@given(facts)
def test_only_a_run_that_may_work_starts_anything_and_then_one_step_once_it_is_served(given_facts):
    spec, _, observed, _ = given_facts
    decided = plan(*given_facts)
    starts = [action for action in decided.actions if isinstance(action, StartStep)]
    if spec.suspend or spec.cancel or decided.status.is_terminal or not observed.store.ready:
        assert starts == []
    for start in starts:
        assert len(decided.actions) == 1
        assert start.step.path not in observed.manifests
        assert observed.services[start.step.service].ready


def test_a_time_without_its_zone_is_a_mistake_of_the_caller():
    status = RunStatus(start_time=datetime(2026, 1, 1, tzinfo=UTC) - timedelta(days=1))
    spec = SPEC.model_copy(update={"deadlines": Deadlines(run_seconds=1)})
    with pytest.raises(TypeError):
        plan(spec, status, Observed(), datetime(2026, 1, 1))
