"""What is worth a second look in a run of this size, and what is not."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfie.method.noise import OnlineThreshold, default_window, warmup_steps
from selfie.runs.estimates.advice import (
    Machine,
    Outlook,
    advice_on,
    detectable_difference,
    detector_steps,
)
from selfie.runs.estimates.data import Case, RunData
from selfie.runs.estimates.estimating import Pace, estimate_run
from selfie.runs.estimates.rates import assumed_rates, processors
from selfie.runs.estimates.shapes import COMMON

quick = settings(deadline=None, max_examples=60)
LARGE = Machine(cores=2, memory=1e15, disk=1e15)
SOUND = {"counts": (400,), "heldout": 1000, "training": {"batch": 8}}


def advice(case: Case, machine: Machine | None = LARGE) -> dict[str, str]:
    pace = Pace(assumed_rates(case.policy, processors(2)))
    found = advice_on(Outlook(case, estimate_run(case, pace), machine))
    return {entry.field: f"{entry.problem}; {entry.remedy}" for entry in found}


def test_a_sound_run_is_left_alone(case_of):
    assert advice(case_of(**SOUND)) == {}


@pytest.mark.parametrize(("pairs", "points"), [(64, 16), (256, 8), (1000, 4)])
def test_the_difference_that_pairs_can_show_is_that_of_the_usual_power(pairs, points):
    assert round(100 * detectable_difference(pairs)) == points


def test_few_held_out_pairs_are_told_what_they_show(case_of):
    found = advice(case_of(**SOUND | {"heldout": 64}))
    assert found.keys() == {"spec.seed.heldoutSize"}
    assert "from 16 points on" in found["spec.seed.heldoutSize"]
    assert "1000 for 4" in found["spec.seed.heldoutSize"]


def test_no_held_out_pairs_are_missed(case_of):
    assert "judge is measured" in advice(case_of(**SOUND | {"heldout": 0}))["spec.seed.heldout"]


def test_a_round_of_few_pairs_is_told_which_batch_or_count_it_wants(case_of):
    found = advice(case_of(**SOUND | {"counts": (400, 20, 20)}))
    assert found.keys() == {"spec.rounds[1].prompts.count"}
    message = found["spec.rounds[1].prompts.count"]
    assert "about 17 pairs, less than 4 batches of 8 (2 rounds alike)" in message
    assert "give 38 prompts, or lower spec.training.batch to 4" in message


def test_a_detector_that_never_acts_is_told_of(case_of):
    found = advice(case_of(**SOUND | {"filter": {"window": 400}}))
    assert found.keys() == {"spec.filter.window"}
    assert "is 400 pairs, and round 1 has about 340 pairs in 43 steps" in found["spec.filter.window"]


@pytest.mark.parametrize(
    "changes",
    [
        {"training": {"batch": 8, "refinement": "offline"}},
        {"filter": {"window": 400, "noisyPercent": 0}},
    ],
)
def test_a_detector_that_is_not_wanted_is_not_missed(case_of, changes):
    assert "spec.filter.window" not in advice(case_of(**SOUND | {"filter": {"window": 400}} | changes))


@quick
@given(
    pairs=st.integers(1, 200),
    batch=st.integers(1, 64),
    epochs=st.integers(1, 3),
    window=st.integers(0, 200),
    warmup=st.integers(0, 100),
)
def test_the_steps_in_which_the_detector_acts_are_those_of_the_detector(pairs, batch, epochs, window, warmup):
    window = window or default_window(pairs)
    steps = epochs * -(-pairs // batch)
    real = OnlineThreshold(noisy_percent=10, window=window, warmup_steps=warmup_steps(steps, percent=warmup))
    acting = 0
    for _ in range(epochs):
        for start in range(0, pairs, batch):
            acting += real.threshold is not None
            real.push(np.arange(start, min(start + batch, pairs), dtype=float))
    found = detector_steps(pairs, batch=batch, epochs=epochs, window=window, warmup_percent=warmup)
    assert found == acting


def test_responses_that_are_shorter_than_the_labelled_ones_would_be_cut(case_of):
    found = advice(case_of(**SOUND | {"generation": {"maxNewTokens": 60}}))
    assert found.keys() == {"spec.generation.maxNewTokens"}
    assert "60 tokens in the mean" in found["spec.generation.maxNewTokens"]
    assert "use 100 or more" in found["spec.generation.maxNewTokens"]


def test_lengths_that_nobody_has_seen_are_no_ground_for_advice(case_of):
    case = case_of(**SOUND | {"generation": {"maxNewTokens": 60}})
    data = RunData(
        {name: replace(sizes, assumed=True) for name, sizes in case.data.pairs.items()},
        {name: replace(sizes, assumed=True) for name, sizes in case.data.prompts.items()},
    )
    assert advice(replace(case, data=data, policy=replace(case.policy, context=80))) == {}


def test_without_labelled_responses_very_short_ones_are_doubted(case_of):
    unlabelled = {"seed": 0, "counts": (400,), "training": {"batch": 8}}
    found = advice(case_of(**unlabelled, generation={"maxNewTokens": 16}))
    assert "few answers" in found["spec.generation.maxNewTokens"]
    assert advice(case_of(**unlabelled)) == {}


def test_prompts_that_leave_no_room_for_a_response_are_told_of(case_of):
    case = case_of(**SOUND)
    found = advice(replace(case, policy=replace(COMMON["SmolLM2-135M"], context=320)))
    assert found.keys() == {"spec.generation.maxPromptTokens"}
    assert "use at most 20" in found["spec.generation.maxPromptTokens"]


def test_memory_that_this_machine_lacks_is_told_with_what_it_has(case_of):
    found = advice(case_of(**SOUND), replace(LARGE, memory=2e9))
    assert found.keys() == {"spec.microBatch"}
    assert "needs" in found["spec.microBatch"]
    assert "has 2.0" in found["spec.microBatch"]


def test_memory_that_this_machine_may_lack_is_told_so(case_of):
    case = case_of(**SOUND)
    pace = Pace(assumed_rates(case.policy, processors(2)))
    whole = estimate_run(case, pace).peak(lambda figures: figures.machine_memory)
    assert (
        "may need" in advice(case, replace(LARGE, memory=(whole.likely + whole.high) / 2))["spec.microBatch"]
    )
    assert advice(case, replace(LARGE, memory=whole.high)) == {}


def test_disk_that_this_machine_lacks_is_told_with_what_retention_would_keep(case_of):
    found = advice(case_of(**SOUND | {"counts": (400,) * 9}), replace(LARGE, disk=3e9))
    assert found.keys() == {"spec.artifacts.uri"}
    assert "with retention" in found["spec.artifacts.uri"]


def test_an_object_store_is_never_full(case_of):
    assert advice(case_of(**SOUND), replace(LARGE, disk=None)) == {}


def test_a_trainer_that_no_common_accelerator_holds_is_told_of(case_of):
    case = replace(
        case_of(**SOUND, gpusPerNode=1), policy=COMMON["Mistral-7B"], reference=COMMON["Mistral-7B"]
    )
    assert advice(case, None).keys() == {"spec.training.lora"}


def test_memory_of_this_machine_says_nothing_of_a_run_elsewhere(case_of):
    assert advice(case_of(**SOUND, gpusPerNode=1), None) == {}
