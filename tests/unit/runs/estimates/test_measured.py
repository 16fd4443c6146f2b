"""Trials that fit a machine, and the rates that follow from what they show."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfie.runs.estimates.assumptions import Grounds, assumptions_of
from selfie.runs.estimates.estimating import Pace
from selfie.runs.estimates.measured import (
    SPREAD,
    Measured,
    SamplingTime,
    ScoringTime,
    TrainingTime,
    findings,
    measured_pace,
)
from selfie.runs.estimates.rates import Rates, assumed_rates, processors
from selfie.runs.estimates.scenarios import LIKELY
from selfie.runs.estimates.shapes import COMMON
from selfie.runs.estimates.trials import MOST_SECONDS, TRIAL_SECONDS, trials_for, whole_trials

SMOLLM = COMMON["SmolLM2-135M"]
quick = settings(deadline=None, max_examples=60)
ASSUMED = assumed_rates(SMOLLM, processors(2))
TRUE = Rates(
    scoring=0.2e12,
    training=0.17e12,
    partition=0.02e12,
    decoding=0.05e12,
    decoding_step=0.2,
    update=1.5,
    start=4,
    load=2e-9,
    between=1,
    spread=2,
)


def shown(case, rates: Rates) -> Measured:
    """What the trials would show on a machine of exactly these rates, whose memory is as computed."""
    trials = whole_trials(case)

    def peak(trial):
        return trial.footprint(SMOLLM).peak(LIKELY)

    def step(rows):
        return rates.decoding_step + rows * trials.sampling.of_a_token(SMOLLM) / rates.decoding

    return Measured(
        ScoringTime(
            trial=trials.scoring,
            seconds=trials.scoring.operations(SMOLLM) / rates.scoring,
            peak_bytes=peak(trials.scoring) + 1e8,
        ),
        SamplingTime(
            trial=trials.sampling,
            step_seconds=step(trials.sampling.rows),
            few_step_seconds=step(trials.sampling.few_rows),
            peak_bytes=peak(trials.sampling),
        ),
        TrainingTime(
            trial=trials.training,
            seconds=trials.training.operations(SMOLLM) / rates.training,
            update_seconds=rates.update,
            partition_seconds=trials.training.of_the_partition(SMOLLM) / rates.partition,
            peak_bytes=peak(trials.training) - 2e8,
        ),
    )


def test_the_rates_of_a_machine_are_found_again(quickstart):
    found = measured_pace(SMOLLM, ASSUMED, shown(quickstart, TRUE)).rates
    for name in ("scoring", "training", "partition", "decoding", "decoding_step", "update"):
        assert getattr(found, name) == pytest.approx(getattr(TRUE, name)), name
    assert found.spread == SPREAD


def test_memory_beyond_the_arithmetic_is_kept_and_so_is_what_there_was_less(quickstart):
    beyond = measured_pace(SMOLLM, ASSUMED, shown(quickstart, TRUE)).remainders
    assert beyond == {
        "scoring": pytest.approx(1e8),
        "engine": pytest.approx(0, abs=1),
        "trainer": pytest.approx(-2e8),
    }


def test_what_was_not_tried_follows_from_the_scoring(quickstart):
    scoring = Measured(scoring=shown(quickstart, replace(TRUE, scoring=ASSUMED.scoring / 2)).scoring)
    found = measured_pace(SMOLLM, ASSUMED, scoring).rates
    assert found.training == pytest.approx(ASSUMED.training / 2)
    assert found.update == pytest.approx(ASSUMED.update * 2)
    assert found.spread == ASSUMED.spread


def test_without_trials_everything_is_as_assumed(quickstart):
    assert measured_pace(SMOLLM, ASSUMED, Measured()).rates == ASSUMED


def test_a_step_that_is_no_slower_with_more_rows_is_put_down_to_its_rows(quickstart):
    flat = shown(quickstart, TRUE)
    sampling = replace(flat.sampling, few_step_seconds=flat.sampling.step_seconds + 0.01)
    found = measured_pace(SMOLLM, ASSUMED, Measured(sampling=sampling)).rates
    assert found.decoding_step == 0
    row = sampling.trial.of_a_token(SMOLLM) / found.decoding
    assert row * sampling.trial.rows == pytest.approx(sampling.step_seconds)


def test_every_trial_is_told_with_what_follows(quickstart):
    measured = shown(quickstart, TRUE)
    told = list(findings(SMOLLM, measured, measured_pace(SMOLLM, ASSUMED, measured)))
    assert [entry.trial.split()[0] for entry in told] == ["score", "decode", "train", "log-partition"]
    assert "0.2 TFLOP/s" in told[0].follows
    assert not list(findings(SMOLLM, Measured(), measured_pace(SMOLLM, ASSUMED, Measured())))


def test_a_plain_training_has_no_log_partition_to_tell_of(quickstart):
    measured = shown(quickstart, TRUE)
    plain = Measured(training=replace(measured.training, partition_seconds=0))
    pace = measured_pace(SMOLLM, ASSUMED, plain)
    assert pace.rates.partition == ASSUMED.partition
    assert [entry.trial for entry in findings(SMOLLM, plain, pace)] == ["train on 4 pairs, update"]


@quick
@given(st.floats(1e9, 1e13), st.sampled_from(sorted(COMMON)))
def test_trials_are_short_or_are_not_made(quickstart, flops, name):
    case = replace(quickstart, policy=COMMON[name], reference=COMMON[name])
    rates = assumed_rates(case.policy, replace(processors(1), flops=flops, bandwidth=flops / 20))
    trials = trials_for(case, rates, memory=1e15)
    for trial in (trials.scoring, trials.sampling, trials.training):
        if trial is not None:
            seconds = trial.seconds(case.policy, rates)
            assert seconds <= TRIAL_SECONDS or (trial.smaller() is None and seconds <= MOST_SECONDS)
    made = sum(trial is not None for trial in (trials.scoring, trials.sampling, trials.training))
    assert made + len(trials.skipped) == 3


def test_a_fast_machine_tries_the_runs_own_batches(quickstart):
    fast = assumed_rates(SMOLLM, replace(processors(2), flops=1e15, bandwidth=1e15, layer_seconds=0))
    trials = trials_for(quickstart, fast, memory=1e15)
    assert trials == whole_trials(quickstart)
    assert trials.training.pairs == 4
    assert trials.sampling.rows == 128
    assert trials.scoring.responses == 4


def test_a_training_is_tried_in_the_runs_own_precision_and_assumed_to_be_no_faster(case_of):
    case = case_of(training={"precision": "bfloat16"})
    assert whole_trials(case).training.precision == "bfloat16"
    grounds = Grounds(model="here", reference=None, rates="assumed")
    told = {entry.subject: entry.statement for entry in assumptions_of(case, Pace(ASSUMED), grounds)}
    assert "the trainer's products in bfloat16" in told["precision"]


def test_what_does_not_fit_is_not_tried_and_said_so(quickstart):
    trials = trials_for(quickstart, ASSUMED, memory=3e9)
    assert trials.scoring is not None
    assert trials.training is None
    assert "training was not measured: it needs about" in trials.skipped[0]
