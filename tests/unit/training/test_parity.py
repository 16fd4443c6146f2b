"""A round is not trained on where scorer and trainer do not see the same thing."""

from typing import Any

import pytest

from selfie.errors import FailedPrecondition
from selfie.training.trainer.parity import SAMPLE, check_parity, sample, scorer_bound, trainer_bound


def row(name: str = "p0", **changes: Any) -> dict[str, Any]:
    plain = {
        "pair_id": name,
        "chosen_ids": [1] * 10,
        "rejected_ids": [1] * 20,
        "chosen_policy_logprob": -12.0,
        "rejected_policy_logprob": -30.0,
        "beta": 0.1,
        "tie_band": 0.0002,
        "normalization": "sum",
    }
    return plain | changes


def test_agreement_within_both_bounds_is_recorded_with_its_worst_error() -> None:
    parity = check_parity([row()], lambda _: (-12.0005, -30.0001), precision="float32")
    assert parity.pairs == 1
    assert parity.max_error == pytest.approx(0.0005)
    assert parity.bound == pytest.approx(0.001 + trainer_bound(20, "float32"))


@pytest.mark.parametrize("own", [(-12.01, -30.0), (-12.0, -30.01), (float("nan"), -30.0)], ids=str)
def test_a_larger_difference_refuses_the_round_and_gives_the_numbers(own: tuple[float, float]) -> None:
    with pytest.raises(FailedPrecondition, match=r"pair p1: the (chosen|rejected) response") as caught:
        check_parity([row("p1")], lambda _: own, precision="float32")
    assert caught.value.reason == "ParityBroken"


def test_bfloat16_is_allowed_the_error_that_it_has() -> None:
    assert check_parity([row()], lambda _: (-12.1, -30.1), precision="bfloat16").max_error > 0.09


def test_the_scorers_bound_is_read_off_its_tie_band() -> None:
    assert scorer_bound(row(), 10) == pytest.approx(0.001)
    assert scorer_bound(row(normalization="mean"), 10) == pytest.approx(0.01)


def test_the_sample_is_drawn_by_the_seed_and_keeps_the_order() -> None:
    rows = [row(f"p{number:02}") for number in range(40)]
    drawn = [taken["pair_id"] for taken in sample(rows, 3)]
    assert len(drawn) == SAMPLE
    assert drawn == sorted(drawn)
    assert drawn == [taken["pair_id"] for taken in sample(rows, 3)]
    assert drawn != [taken["pair_id"] for taken in sample(rows, 4)]


def test_a_small_round_is_checked_whole() -> None:
    rows = [row("a"), row("b")]
    assert sample(rows, 0) == rows
