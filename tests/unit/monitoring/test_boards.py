"""What a run looks like to Prometheus, and for how long."""

import math

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from selfie.monitoring.boards import LINGER, RunBoard
from selfie.monitoring.families import HELP, MEASURES
from selfie.monitoring.sights import RunName
from selfie.runs.observed import Observed, StoreObserved
from selfie.runs.operation_fields import Deadlines, Replicas
from selfie.runs.status import MAX_ROUNDS, BestRound, RoundStatus

NAME = RunName("team", "toy")
WHOSE = {"namespace": "team", "run": "toy"}


def value(board: RunBoard, name: str, **labels: str) -> float | None:
    registry = CollectorRegistry()
    registry.register(board)
    return registry.get_sample_value(name, {**WHOSE, **labels})


def names(board: RunBoard) -> set[str]:
    return {family.name for family in board.collect()}


@pytest.mark.parametrize(
    ("condition", "state"),
    [
        ("Complete", "complete"),
        ("Failed", "failed"),
        ("Suspended", "suspended"),
        ("Stalled", "stalled"),
        (None, "active"),
    ],
)
def test_a_run_says_how_it_stands_in_one_series(board, status_of, condition, state):
    fields = {"completion_time": board._now()} if state in ("complete", "failed") else {}
    board.tell(NAME, status_of(condition, reason="Because", stage="train", round=1, **fields))
    labels = {"state": state, "reason": "Because", "stage": "train", "round": "1"}
    assert value(board, "selfie_run_info", **labels) == 1
    assert sum(len(family.samples) for family in board.collect() if family.name == "selfie_run_info") == 1


def test_every_measure_of_a_round_reaches_prometheus(board, spec_of, status_of, observed_of):
    wanted = {measure: float(place) for place, measure in enumerate(MEASURES)}
    measures: dict[str, dict[str, float]] = {}
    for measure, number in wanted.items():
        measures.setdefault(f"rounds/01/{measure.step}", {})[measure.name] = number
    board.tell(NAME, status_of())
    board.observe(NAME, spec_of(), observed_of(measures))
    found = {measure: value(board, measure.family, round="1", **dict(measure.labels)) for measure in MEASURES}
    assert found == wanted


def test_the_seeds_training_is_that_of_round_0(board, spec_of, status_of, observed_of):
    board.tell(NAME, status_of())
    board.observe(NAME, spec_of(), observed_of({"rounds/00/seed": {"loss_last": 0.5}}))
    assert value(board, "selfie_round_training_loss_nats", round="0") == 0.5


def test_what_is_no_number_is_left_out(board, spec_of, status_of, observed_of):
    board.tell(NAME, status_of())
    board.observe(NAME, spec_of(), observed_of({"rounds/01/evaluate-measures": {"divergence": math.nan}}))
    assert "selfie_round_divergence_nats" not in names(board)


def test_tokens_are_summed_by_what_was_done_with_them(board, spec_of, status_of, observed_of):
    counts = {
        "rounds/01/generate": {"tokens": 100},
        "rounds/01/evaluate-samples": {"tokens": 20},
        "rounds/01/score": {"tokens": 7},
        "rounds/01/train": {"tokens": 5},
    }
    board.tell(NAME, status_of())
    board.observe(NAME, spec_of(), observed_of({}, counts))
    found = {
        kind: value(board, "selfie_round_tokens", round="1", kind=kind) for kind in ("generated", "scored")
    }
    assert found == {"generated": 120, "scored": 7}
    assert value(board, "selfie_round_tokens", round="1", kind="trained") == 5


def test_a_step_costs_its_time_on_all_the_accelerators_that_it_holds(board, spec_of, status_of, observed_of):
    spec = spec_of(nodes=2, gpus_per_node=4, replicas=Replicas(scoring=3))
    steps = {f"rounds/01/{name}": {} for name in ("generate", "score", "filter", "train", "publish")}
    board.tell(NAME, status_of())
    board.observe(NAME, spec, observed_of(steps, seconds=10))
    found = {
        path.rpartition("/")[2]: value(
            board, "selfie_step_accelerator_seconds", round="1", step=path.rpartition("/")[2]
        )
        for path in steps
    }
    assert found == {"generate": 0, "score": 30, "filter": 0, "train": 80, "publish": 0}


def test_an_engine_that_is_not_our_own_holds_accelerators(board, spec_of, status_of, observed_of):
    generation = spec_of().generation.model_copy(update={"engine": "tgi"})
    board.tell(NAME, status_of())
    board.observe(
        NAME,
        spec_of(generation=generation, replicas=Replicas(engine=2)),
        observed_of({"rounds/01/generate": {}}),
    )
    assert value(board, "selfie_step_accelerator_seconds", round="1", step="generate") == 20


def test_time_towards_a_deadline_goes_on_between_looks(board, clock, spec_of, status_of, observed_of):
    spec = spec_of(deadlines=Deadlines(stage_seconds=60))
    board.tell(NAME, status_of(stage_start_time=clock()))
    board.observe(NAME, spec, observed_of({}))
    clock.passes(seconds=90)
    assert value(board, "selfie_run_stage_active_seconds") == 90
    assert value(board, "selfie_run_stage_deadline_seconds") == 60
    assert value(board, "selfie_run_deadline_seconds") is None


def test_the_present_step_tells_how_far_it_is(board, spec_of, status_of, observed_of):
    board.tell(NAME, status_of(fraction=0.25, eta_seconds=30, attempt=2))
    board.observe(NAME, spec_of(), observed_of({}, work=(3, 4)))
    assert value(board, "selfie_run_step_progress_ratio") == 0.75
    assert value(board, "selfie_run_progress_ratio") == 0.25
    assert value(board, "selfie_run_eta_seconds") == 30
    assert value(board, "selfie_run_attempts") == 2


def test_the_best_round_and_what_gates_were_crossed_are_told(board, spec_of, status_of, observed_of):
    best = BestRound(round=1, step="rounds/01/publish", digest="d", accuracy=0.75)
    crossed = RoundStatus(round=1, breaches=("accuracy fell",))
    board.tell(NAME, status_of(best=best, rounds=(crossed,)))
    board.observe(NAME, spec_of(), observed_of({"rounds/01/publish": {}}))
    assert value(board, "selfie_run_best_round") == 1
    assert value(board, "selfie_run_best_accuracy_ratio") == 0.75
    assert value(board, "selfie_round_breaches", round="1") == 1


def test_a_store_that_cannot_be_read_takes_nothing_back(board, spec_of, status_of, observed_of):
    board.tell(NAME, status_of())
    board.observe(NAME, spec_of(), observed_of({"rounds/01/evaluate-heldout": {"accuracy": 0.5}}))
    board.observe(NAME, spec_of(), Observed(store=StoreObserved(ready=False)))
    assert value(board, "selfie_round_heldout_accuracy_ratio", round="1") == 0.5


def test_a_run_that_has_ended_is_told_of_for_a_while_and_then_no_more(board, clock, status_of):
    board.tell(NAME, status_of("Failed", completion_time=clock()))
    clock.passes(seconds=LINGER.total_seconds())
    assert names(board)
    clock.passes(seconds=1)
    assert not names(board)
    board.tell(NAME, status_of("Failed", completion_time=board._now() - 2 * LINGER))
    assert not board._sights


def test_a_run_that_is_gone_takes_its_series_with_it(board, status_of):
    board.tell(NAME, status_of())
    board.forget(NAME)
    assert not names(board)


def test_of_many_rounds_only_the_newest_are_told(board, spec_of, status_of, observed_of):
    board.tell(NAME, status_of())
    board.observe(NAME, spec_of(), observed_of({f"rounds/{number:02d}/publish": {} for number in range(30)}))
    rounds = {
        sample.labels["round"]
        for family in board.collect()
        if family.name == "selfie_step_duration_seconds"
        for sample in family.samples
    }
    assert rounds == {str(number) for number in range(30 - MAX_ROUNDS, 30)}


def test_of_many_runs_only_the_latest_tell_their_rounds(clock, spec_of, status_of, observed_of):
    board = RunBoard(detailed=1, now=clock)
    for name in ("old", "new"):
        board.tell(RunName("team", name), status_of().model_copy(update={"start_time": clock()}))
        board.observe(RunName("team", name), spec_of(), observed_of({"rounds/01/publish": {}}))
        clock.passes(hours=1)
    found = {family.name: {sample.labels["run"] for sample in family.samples} for family in board.collect()}
    assert found["selfie_run_info"] == {"old", "new"}
    assert found["selfie_step_duration_seconds"] == {"new"}


def test_no_label_holds_text_that_anybody_may_write(board, spec_of, status_of, observed_of):
    board.tell(NAME, status_of())
    board.observe(NAME, spec_of(), observed_of({"rounds/01/score": {"margin_q10": 0.1}}, work=(1, 2)))
    labels = {name for family in board.collect() for sample in family.samples for name in sample.labels}
    known = {"namespace", "run", "round", "step", "stage", "state", "reason", "quantile", "outcome", "kind"}
    assert labels <= known


def test_names_end_in_their_unit_and_every_family_is_explained(board, spec_of, status_of, observed_of):
    board.tell(NAME, status_of())
    board.observe(NAME, spec_of(), observed_of({"prepare": {}}))
    registry = CollectorRegistry()
    registry.register(board)
    assert b"# HELP selfie_run_info" in generate_latest(registry)
    units = ("_ratio", "_seconds", "_nats", "_tokens")
    without = {name for name in HELP if not name.endswith(units)}
    assert without == {
        "selfie_run_info",
        "selfie_run_attempts",
        "selfie_run_restarts",
        "selfie_run_best_round",
        "selfie_round_pairs",
        "selfie_round_heldout_pairs",
        "selfie_round_heldout_margin",
        "selfie_round_margin",
        "selfie_round_breaches",
    }
