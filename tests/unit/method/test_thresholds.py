"""Laws of the two thresholds that decide during training which labels are noisy."""

import json
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfie.errors import FailedPrecondition, InvalidInput
from selfie.method.noise import OnlineThreshold, ParityThreshold, default_window, warmup_steps

quick = settings(deadline=None, max_examples=50)


def online(percent: float = 10, window: int = 8, warmup: int = 0) -> OnlineThreshold:
    return OnlineThreshold(noisy_percent=percent, window=window, warmup_steps=warmup)


def stream(steps: int, batch: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(steps, batch))


def train(threshold: OnlineThreshold, steps: Sequence[np.ndarray]) -> list[list[bool]]:
    decisions = []
    for margins in steps:
        decisions.append(threshold.decide(margins).tolist())
        threshold.push(margins)
    return decisions


@pytest.mark.parametrize("percent", [5, 10, 30])
def test_about_the_asked_share_of_a_steady_stream_is_flagged_after_the_warm_up(percent: float) -> None:
    threshold = online(percent, window=256, warmup=20)
    flags = np.array(train(threshold, list(stream(300, 16))))
    assert not flags[:20].any()
    assert 100 * flags[20:].mean() == pytest.approx(percent, abs=2)
    assert threshold.flagged == flags.sum()
    assert threshold.seen == flags.size


@quick
@given(
    steps=st.lists(st.lists(st.floats(-9, 9), min_size=1, max_size=8), min_size=3, max_size=12),
    cuts=st.integers(1, 7),
    seed=st.integers(0, 2**32),
)
def test_decisions_depend_neither_on_micro_batches_nor_on_the_order_of_ranks(
    steps: list[list[float]], cuts: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    whole, cut = online(40, window=4), online(40, window=4)
    for margins in steps:
        order = rng.permutation(len(margins))
        shuffled = np.array(margins)[order]
        parts = np.split(shuffled, list(range(cuts, len(margins), cuts)))
        decided = np.concatenate([cut.decide(part) for part in parts])
        assert decided.tolist() == whole.decide(margins)[order].tolist()
        whole.push(margins)
        cut.push(np.concatenate(parts))
        assert cut.threshold == whole.threshold
    assert whole.flagged == cut.flagged


def test_the_threshold_is_the_quantile_of_earlier_steps_alone() -> None:
    threshold, steps = online(25, window=8), stream(3, 4)
    train(threshold, list(steps[:2]))
    assert threshold.threshold == pytest.approx(np.quantile(steps[:2], 0.25))
    assert threshold.decide([-1e9, 1e9]).tolist() == [True, False]
    assert threshold.threshold == pytest.approx(np.quantile(steps[:2], 0.25))


def test_a_margin_at_the_threshold_is_not_noisy() -> None:
    threshold = online(10, window=2)
    threshold.push([1.0, 1.0])
    assert threshold.threshold == 1.0
    assert threshold.decide([1.0, np.nextafter(1.0, 0.0)]).tolist() == [False, True]


def test_whole_steps_leave_the_window_once_the_later_ones_fill_it() -> None:
    threshold = online(50, window=5)
    for value in (1.0, 2.0, 3.0):
        threshold.push([value, value, value])
    assert threshold.state_dict()["recent"] == [[2.0] * 3, [3.0] * 3]
    assert threshold.threshold == 2.5
    threshold.push([9.0] * 7)
    assert threshold.state_dict()["recent"] == [[9.0] * 7]


def test_nothing_is_noisy_until_the_window_is_full_and_the_warm_up_over() -> None:
    hopeless = [-1e9]
    threshold = online(window=6, warmup=1)
    for pairs_seen in (0, 2, 4):
        assert threshold.seen == pairs_seen
        assert not threshold.decide(hopeless).any()
        threshold.push([0.0, 1.0])
    assert threshold.decide(hopeless).all()
    late = online(window=2, warmup=3)
    for _ in range(3):
        assert late.threshold is None
        late.push([0.0, 1.0])
    assert late.decide(hopeless).all()


def test_a_share_of_zero_flags_nothing_ever() -> None:
    assert not np.array(train(online(0, window=4), list(stream(50, 4)))).any()


@quick
@given(
    killed_after=st.integers(0, 11),
    percent=st.floats(1, 99),
    window=st.integers(1, 30),
    seed=st.integers(0, 2**32),
)
def test_a_run_killed_in_the_middle_of_a_window_decides_as_if_it_had_gone_on(
    killed_after: int, percent: float, window: int, seed: int
) -> None:
    steps = list(stream(12, 5, seed))
    undisturbed, first = online(percent, window, 3), online(percent, window, 3)
    expected = train(undisturbed, steps)
    before = train(first, steps[:killed_after])
    resumed = online(percent, window, 3)
    resumed.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert before + train(resumed, steps[killed_after:]) == expected
    assert resumed.state_dict() == undisturbed.state_dict()
    assert resumed.threshold == undisturbed.threshold


def test_a_state_made_under_other_settings_is_refused() -> None:
    with pytest.raises(FailedPrecondition, match="window"):
        online(window=9).load_state_dict(online(window=8).state_dict())
    with pytest.raises(FailedPrecondition, match="reading"):
        online().load_state_dict(ParityThreshold(noisy_percent=10, warmup_steps=0).state_dict())


def test_margins_that_are_not_finite_stop_the_run_instead_of_hiding() -> None:
    with pytest.raises(InvalidInput, match="margins"):
        online().push([0.0, float("nan")])
    with pytest.raises(InvalidInput, match="margins"):
        ParityThreshold(noisy_percent=10, warmup_steps=0).push([float("inf")])


def test_the_default_window_is_a_quarter_of_the_round_up_to_512_pairs() -> None:
    assert [default_window(pairs) for pairs in (1, 64, 2048, 8000)] == [1, 16, 512, 512]


def test_a_step_is_in_the_warm_up_as_long_as_it_lies_below_the_share_of_all_steps() -> None:
    assert [warmup_steps(total, percent=20) for total in (0, 5, 8, 10, 35)] == [0, 1, 2, 2, 7]
    for total in range(1, 200):
        assert warmup_steps(total, percent=20) == sum(step * 5 < total for step in range(total))


def record(threshold: ParityThreshold, means: Sequence[float]) -> None:
    for mean in means:
        threshold.push([mean - 1.0, mean + 1.0])


def test_parity_takes_the_mean_of_the_sixth_and_seventh_of_the_last_fifty_means() -> None:
    threshold = ParityThreshold(noisy_percent=10, warmup_steps=0)
    record(threshold, np.random.default_rng(0).permutation(49).tolist())
    assert threshold.threshold == 0.0
    record(threshold, [49.0])
    assert threshold.threshold == 5.5
    record(threshold, [100.0] * 30)
    kept = sorted(np.random.default_rng(0).permutation(49).tolist()[30:] + [49.0] + [100.0] * 30)
    assert threshold.threshold == (kept[5] + kept[6]) / 2


def test_parity_judges_by_zero_until_fifty_means_are_recorded_and_flags_equality() -> None:
    threshold = ParityThreshold(noisy_percent=10, warmup_steps=0)
    assert threshold.decide([-0.1, 0.0, 0.1]).tolist() == [True, True, False]
    record(threshold, [5.0] * 50)
    assert threshold.decide([5.0, 5.1]).tolist() == [True, False]


def test_parity_records_in_the_warm_up_but_flags_nothing() -> None:
    threshold = ParityThreshold(noisy_percent=10, warmup_steps=2)
    for _ in range(2):
        record(threshold, [3.0] * 25)
        assert not threshold.decide([-9.0]).any()
        threshold.end_step()
    assert threshold.threshold == 3.0
    assert threshold.decide([-9.0]).all()
    assert (threshold.steps, threshold.seen, threshold.flagged) == (2, 100, 0)


def test_parity_state_survives_a_kill() -> None:
    means = np.random.default_rng(1).normal(size=90).tolist()
    undisturbed, first, resumed = (ParityThreshold(noisy_percent=10, warmup_steps=1) for _ in range(3))
    for threshold in (undisturbed, first):
        record(threshold, means[:37])
        threshold.end_step()
    resumed.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for threshold in (undisturbed, resumed):
        record(threshold, means[37:])
    assert resumed.state_dict() == undisturbed.state_dict()
    assert resumed.threshold == undisturbed.threshold != 0.0
    assert resumed.flagged == undisturbed.flagged > 0
