"""The quickstart's estimate beside what a run of it took, on two cores with 0.15 TFLOP/s in float32.

The assumed shares of that rate were chosen with this run in view: what is held here is that they go
on agreeing with it, not that they would foretell another machine.
"""

import pytest

from selfie.runs.estimates.estimating import Pace, estimate_run
from selfie.runs.estimates.processes import processes_of
from selfie.runs.estimates.rates import assumed_rates, processors
from selfie.runs.steps import Step

STARTING = 5.0
"""Seconds for starting a step's processes, which the measured figures leave out."""

MEASURED = {
    Step(0, "seed"): 67,
    Step(0, "evaluate-heldout"): 30,
    Step(0, "evaluate-samples"): 20,
    Step(1, "generate"): 45,
    Step(1, "score"): 47,
    Step(1, "train"): 71,
    Step(1, "evaluate-samples"): 20,
}


@pytest.fixture(scope="module")
def estimate(quickstart):
    device = processors(2)
    assert device.flops == 0.15e12
    return estimate_run(quickstart, Pace(assumed_rates(quickstart.policy, device)))


@pytest.mark.parametrize("step", MEASURED, ids=lambda step: step.path)
def test_a_stage_is_within_half_of_what_it_took(quickstart, estimate, step):
    found = next(entry.seconds for entry in estimate.steps if entry.step == step)
    took = MEASURED[step] + _starting(quickstart, step)
    assert took / 1.5 <= found.likely <= took * 1.5
    assert found.low <= took <= found.high


def _starting(quickstart, step):
    return STARTING if processes_of(quickstart.spec)[step].started else 0.0


def test_all_stages_together_are_within_a_third_of_what_they_took(quickstart, estimate):
    found = sum(entry.seconds.likely for entry in estimate.steps if entry.step in MEASURED)
    took = sum(seconds + _starting(quickstart, step) for step, seconds in MEASURED.items())
    assert took / 1.3 <= found <= took * 1.3


def test_memory_is_that_of_the_training(estimate):
    found = estimate.peak(lambda figures: figures.machine_memory)
    assert found.likely == pytest.approx(5.6e9, rel=0.1)
    assert found.low < 5.6e9 < found.high


def test_disk_is_that_of_four_float32_models(estimate):
    assert estimate.disk.whole == pytest.approx(2.17e9, rel=0.01)


def test_data_sets_take_megabytes(estimate):
    # The run's Parquet files had 1.08 MB.
    assert estimate.disk.shards == pytest.approx(1.08e6, rel=0.3)
