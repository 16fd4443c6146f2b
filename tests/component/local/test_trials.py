"""The trials' real work on a tiny model: the classes are those of the services and the trainer."""

import itertools
import time
from dataclasses import replace

import pytest

from selfie.local.planning.trying import try_here
from selfie.local.planning.work import time_sampling, time_scoring, time_training
from selfie.runs.estimates.trials import SamplingTrial, ScoringTrial, TrainingTrial, Trials

# TRL 1.16 asks transformers by a name that is about to go.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

SCORING = ScoringTrial(prompts=3, responses=2, prompt_tokens=8, response_tokens=6, lam=0.5)
SAMPLING = SamplingTrial(rows=6, few_rows=1, prompt_tokens=8, steps=3)
TRAINING = TrainingTrial(pairs=2, prompt_tokens=8, response_tokens=6, lora_rank=0, lora_alpha=0, lam=0.5)


def test_scoring_is_timed(tiny_checkpoint):
    assert 0 < time_scoring(SCORING, tiny_checkpoint, time.perf_counter) < 60


def test_scoring_times_one_batch_alone(tiny_checkpoint):
    ticks = itertools.count()
    assert time_scoring(SCORING, tiny_checkpoint, lambda: float(next(ticks))) == 1


def test_a_decoding_step_is_timed_with_all_rows_and_with_few(tiny_checkpoint):
    many, few = time_sampling(SAMPLING, tiny_checkpoint, time.perf_counter)
    assert 0 < few < 60
    assert 0 < many < 60


def test_no_row_ends_before_the_last_step(tiny_checkpoint):
    ticks = itertools.count()
    assert time_sampling(SAMPLING, tiny_checkpoint, lambda: float(next(ticks))) == (1, 1)
    # Twice steps + 1 tokens, and the clock is asked once for each.
    assert next(ticks) == 2 * (SAMPLING.steps + 1)


@pytest.mark.parametrize(("lora_rank", "precision"), [(0, "float32"), (4, "float32"), (0, "bfloat16")])
def test_passes_update_and_log_partition_of_a_training_are_timed(tiny_checkpoint, lora_rank, precision):
    trial = TrainingTrial(
        pairs=2, prompt_tokens=8, response_tokens=6, lora_rank=lora_rank, lora_alpha=8, lam=0.5
    )
    for seconds in time_training(replace(trial, precision=precision), tiny_checkpoint, time.perf_counter):
        assert 0 < seconds < 60


def test_a_training_without_extrapolation_has_no_log_partition(tiny_checkpoint):
    plain = TrainingTrial(pairs=1, prompt_tokens=4, response_tokens=4, lora_rank=0, lora_alpha=0, lam=0)
    assert time_training(plain, tiny_checkpoint, time.perf_counter)[2] == 0


@pytest.mark.slow
def test_trials_are_made_by_processes_of_their_own(tiny_checkpoint):
    found = try_here(Trials(SCORING, SAMPLING, TRAINING), tiny_checkpoint)
    assert found.notes == ()
    for time_of in (found.scoring, found.sampling, found.training):
        assert time_of is not None
        assert 1e8 < time_of.peak_bytes < 4e9
