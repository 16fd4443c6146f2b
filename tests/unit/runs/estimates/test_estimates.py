"""The estimate of whole runs: nothing is forgotten, more is never less, rounds add up."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfie.runs.estimates.data import Case
from selfie.runs.estimates.estimating import Pace, RunEstimate, estimate_run
from selfie.runs.estimates.rates import Device, accelerator, assumed_rates, processors
from selfie.runs.estimates.shapes import COMMON
from selfie.runs.estimates.work import WORK
from selfie.runs.steps import SERVICE_OF, Step, steps_of

SMOLLM = COMMON["SmolLM2-135M"]
PACE = Pace(assumed_rates(SMOLLM, processors(2)))
quick = settings(deadline=None, max_examples=60)
PART = {"heldout": 20, "evaluation": 10}
runs = st.fixed_dictionaries(
    {},
    optional={
        "seed": st.sampled_from([0, 30]),
        "heldout": st.sampled_from([0, 25]),
        "evaluation": st.sampled_from([0, 12]),
        "counts": st.lists(st.integers(1, 300), min_size=1, max_size=5).map(tuple),
        "gpu": st.sampled_from(["shared", "separate"]),
        "gpusPerNode": st.sampled_from([0, 2]),
        "scoring": st.sampled_from([{"reference": name} for name in ("initial", "previous", "none")]),
        "training": st.sampled_from([{}, {"initialPolicy": "initial"}, {"lora": {}}, {"refinement": "none"}]),
    },
)


def estimated(case: Case, device: Device | None = None) -> RunEstimate:
    return estimate_run(case, Pace(assumed_rates(case.policy, device)) if device else PACE)


def step_of(estimate: RunEstimate, number: int, name: str):
    return next(entry for entry in estimate.steps if entry.step == Step(number, name))


def figures(estimate: RunEstimate) -> list[float]:
    """Everything that must not fall when there is more to do, for the likely scenario and the others."""
    wholes = [
        estimate.seconds,
        estimate.total(lambda found: found.work.operations),
        estimate.total(lambda found: found.work.prompt_tokens),
        estimate.total(lambda found: found.work.response_tokens),
        estimate.total(lambda found: found.disk),
        estimate.peak(lambda found: found.machine_memory),
    ]
    return [value for whole in wholes for value in (whole.low, whole.likely, whole.high)]


def is_no_less(more: RunEstimate, less: RunEstimate) -> bool:
    pairs = zip(figures(more), figures(less), strict=True)
    return all(one >= other * (1 - 1e-9) for one, other in pairs)


def test_every_kind_of_step_has_work():
    assert WORK.keys() == SERVICE_OF.keys()


@quick
@given(runs)
def test_every_step_of_any_run_has_a_line(case_of, options):
    case = case_of(**options)
    found = [entry.step for entry in estimated(case).steps]
    assert found == list(steps_of(case.spec))


@quick
@given(runs)
def test_every_figure_is_a_range_around_what_is_likely(case_of, options):
    for entry in estimated(case_of(**options)).steps:
        for figure in (
            lambda found: found.seconds,
            lambda found: found.machine_memory,
            lambda found: found.disk,
            lambda found: found.work.operations,
        ):
            found = entry.over(figure)
            assert 0 <= found.low <= found.likely <= found.high


@quick
@given(runs)
def test_no_process_takes_less_memory_than_its_weights(case_of, options):
    copies = {"engine": 1, "scoring": 2, "trainer": 2, "program": 0}
    for entry in estimated(case_of(**options)).steps:
        for found in entry.figures:
            for kind, memory in found.memory.items():
                assert memory >= copies[kind] * SMOLLM.weight_bytes


@quick
@given(st.integers(1, 500), st.integers(1, 500))
def test_more_prompts_take_no_less(case_of, one, other):
    fewer, more = sorted((one, other))
    assert is_no_less(
        estimated(case_of(counts=(more, 40), **PART)), estimated(case_of(counts=(fewer, 40), **PART))
    )


@quick
@given(st.integers(2, 64), st.integers(2, 64))
def test_more_samples_take_no_less(case_of, one, other):
    fewer, more = sorted((one, other))
    many = estimated(case_of(generation={"samplesPerPrompt": more}, **PART))
    assert is_no_less(many, estimated(case_of(generation={"samplesPerPrompt": fewer}, **PART)))


@quick
@given(st.integers(1, 4000), st.integers(1, 4000))
def test_longer_responses_take_no_less(case_of, one, other):
    shorter, longer = sorted((one, other))
    long = estimated(case_of(generation={"maxNewTokens": longer}, **PART))
    assert is_no_less(long, estimated(case_of(generation={"maxNewTokens": shorter}, **PART)))


@quick
@given(st.floats(1, 4))
def test_longer_labelled_texts_take_no_less(case_of, factor):
    case = case_of(**PART)

    def longer(length):
        return replace(
            length,
            mean=factor * length.mean,
            q95=factor * length.q95,
            longest=factor * length.longest,
        )

    pairs = {
        name: replace(sizes, prompt=longer(sizes.prompt), response=longer(sizes.response))
        for name, sizes in case.data.pairs.items()
    }
    stretched = replace(case, data=replace(case.data, pairs=pairs))
    assert is_no_less(estimated(stretched), estimated(case))


@quick
@given(st.lists(st.integers(1, 200), min_size=2, max_size=6))
def test_rounds_add_up(case_of, counts):
    """With equal extrapolation, the steps of a run's rounds are those of each round by itself."""
    scoring = {"scoring": {"lambda": "0.5"}, "training": {"refinement": "none"}, **PART}
    whole = estimated(case_of(counts=tuple(counts), **scoring))
    alone = [estimated(case_of(counts=(count,), **scoring)) for count in counts]
    for number, single in enumerate(alone, start=1):
        assert whole.round_seconds(number).likely == pytest.approx(single.round_seconds(1).likely)
    assert whole.seconds.likely == pytest.approx(
        alone[0].round_seconds(0).likely + sum(single.round_seconds(1).likely for single in alone)
    )


def test_held_out_pairs_are_judged_by_both_models_once_and_by_the_policy_alone_after_that(case_of):
    estimate = estimated(case_of(counts=(40, 40), **PART))
    found = [step_of(estimate, number, "evaluate-heldout").figures[1].work.scoring for number in range(3)]
    assert found[1] == found[2] == found[0] / 2


def test_held_out_pairs_are_judged_by_both_models_where_the_reference_changes(case_of):
    estimate = estimated(case_of(counts=(40, 40), scoring={"reference": "previous"}, **PART))
    found = [step_of(estimate, number, "evaluate-heldout").figures[1].work.scoring for number in range(3)]
    assert found == 3 * [found[0]]


def test_the_log_partition_is_computed_only_where_noise_is_found_by_extrapolation(case_of):
    def partition(**training) -> float:
        estimate = estimated(case_of(counts=(40,), training=training))
        return step_of(estimate, 1, "train").figures[1].work.partition

    assert partition() > 0
    assert partition(refinement="offline") == 0
    seed = step_of(estimated(case_of()), 0, "seed").figures[1].work
    assert seed.partition == 0


def test_pairs_that_are_seen_again_are_put_through_the_reference_once(case_of):
    def operations(epochs: int) -> float:
        case = case_of(training={"epochs": epochs, "refinement": "none"})
        return step_of(estimated(case), 1, "train").figures[1].work.training

    again = operations(2) - operations(1)
    assert again == pytest.approx(operations(3) - operations(2))
    assert again < operations(1)


def test_a_round_that_drops_noisy_pairs_trains_on_fewer(case_of):
    dropped = case_of(counts=(100,), filter={"action": "drop", "noisyPercent": 20})
    kept = step_of(estimated(dropped), 1, "train").over(lambda found: found.work.pairs)
    assert (kept.low, kept.likely, kept.high) == (40, 68, 80)


def test_checkpoints_are_float32_and_retention_keeps_the_newest_and_the_best(case_of):
    disk = estimated(case_of(counts=(10,) * 6)).disk
    checkpoint = SMOLLM.weight_bytes + 4e6
    assert disk.models == checkpoint
    assert disk.checkpoints == 7 * checkpoint
    assert disk.retained == 3 * checkpoint
    assert disk.whole - disk.with_retention == pytest.approx(4 * checkpoint)
    assert 0 < disk.shards < 10e6


def test_without_a_seed_the_model_itself_is_round_zeros_checkpoint(case_of):
    disk = estimated(case_of(seed=0)).disk
    checkpoint = SMOLLM.weight_bytes + 4e6
    assert disk.models == 2 * checkpoint
    assert disk.checkpoints == checkpoint


def test_a_long_training_keeps_states_to_go_on_from_until_it_is_done(case_of):
    short = estimated(case_of(counts=(8,)))
    long = estimated(case_of(counts=(8,), checkpointSeconds=10))
    unfinished = long.peak(lambda found: found.unfinished_disk)
    assert short.peak(lambda found: found.unfinished_disk).likely == 0
    assert unfinished.high == 2 * 3 * SMOLLM.weight_bytes


def test_gpu_hours_count_every_device_for_as_long_as_it_is_held(case_of):
    case = case_of(nodes=2, gpusPerNode=4, replicas={"engine": 3, "scoring": 1}, **PART)
    estimate = estimated(case, accelerator())
    trained = [entry for entry in estimate.steps if "trainer" in entry.figures[1].memory]
    assert estimate.gpu_seconds("trainer").likely == pytest.approx(
        8 * sum(entry.seconds.likely for entry in trained)
    )
    sampled = [entry for entry in estimate.steps if "engine" in entry.figures[1].memory]
    assert {entry.step.name for entry in sampled} == {
        "serve",
        "generate",
        "evaluate-initial",
        "evaluate-samples",
    }
    assert estimate.gpu_seconds("engine").likely == pytest.approx(
        3 * sum(entry.seconds.likely for entry in sampled)
    )


def test_an_engine_that_stays_over_the_evaluation_costs_its_gpu_meanwhile(case_of):
    def engine(gpu: str) -> float:
        case = case_of(counts=(40, 40), gpusPerNode=1, gpu=gpu, **PART)
        return estimated(case, accelerator()).gpu_seconds("engine").likely

    assert engine("separate") > engine("shared")


def test_without_accelerators_there_are_no_gpu_hours(case_of):
    estimate = estimated(case_of(**PART))
    assert {entry.over(lambda found: sum(found.gpu_seconds.values())).high for entry in estimate.steps} == {0}


def test_more_devices_train_faster(case_of):
    def training(**devices) -> float:
        estimate = estimated(case_of(counts=(500,), **devices), accelerator())
        return step_of(estimate, 1, "train").seconds.likely

    assert training(gpusPerNode=4) < training(gpusPerNode=1)
