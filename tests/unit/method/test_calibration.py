"""The slope that turns margins into how often people agree."""

import numpy as np
import pytest

from selfie.errors import InvalidInput
from selfie.method.calibration import fitted_slope


@pytest.mark.parametrize("slope", [0.05, 1.0, 20.0])
def test_the_slope_that_people_choose_by_is_found_again(slope: float):
    rng = np.random.default_rng(1)
    margins = rng.normal(size=20_000) * 2 / slope
    chosen_first = rng.random(margins.size) < 1 / (1 + np.exp(-slope * margins))
    assert fitted_slope(np.where(chosen_first, margins, -margins)) == pytest.approx(slope, rel=0.1)


def test_the_unit_of_margins_does_not_matter():
    margins = np.array([0.2, 1.0, -0.4, 3.0, 0.1])
    assert fitted_slope(margins * 1000) == pytest.approx(fitted_slope(margins) / 1000)


def test_a_judge_that_is_never_wrong_is_not_taken_to_be_infinitely_sure():
    few, many = fitted_slope([1.0] * 3), fitted_slope([1.0] * 300)
    assert few == pytest.approx(np.log(4))
    assert few < many < 10


def test_a_judge_that_people_mostly_contradict_has_a_slope_below_zero():
    assert fitted_slope([-1.0, -2.0, 1.0, -1.5]) < 0


@pytest.mark.parametrize("margins", [[], [0.0, 0.0], [float("nan")]])
def test_margins_that_say_nothing_are_refused(margins: list[float]):
    with pytest.raises(InvalidInput, match="margins"):
        fitted_slope(margins)
