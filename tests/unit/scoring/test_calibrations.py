"""Fits in files: read for the weights that they were made of, and for no others."""

from pathlib import Path

import pytest

from selfie.errors import FailedPrecondition, InvalidInput
from selfie.scoring.calibrations import calibration_text, read_calibration
from selfie.scoring.rewards import RewardRule

POLICY, REFERENCE = "a" * 64, "b" * 64
TEXT = calibration_text(
    policy_digest=POLICY, reference_digest=REFERENCE, pairs=200, slopes={"sum": 0.02, "mean": 3.0}
)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "calibration.json"
    path.write_text(text)
    return path


def read(path: Path, *, policy: str = POLICY):
    return read_calibration(path, policy_digest=policy, reference_digest=REFERENCE)


def test_a_slope_is_that_of_the_normalisation_and_undoes_beta(tmp_path: Path):
    found = read(written(tmp_path, TEXT))
    assert found.pairs == 200
    assert found.slope(RewardRule(beta=0.1)) == pytest.approx(0.2)
    assert found.slope(RewardRule(beta=0.5, normalization="mean")) == pytest.approx(6.0)


def test_a_fit_is_known_by_its_content(tmp_path: Path):
    one = read(written(tmp_path, TEXT))
    other = read(written(tmp_path, TEXT.replace("200", "201")))
    assert len(one.id) == 64
    assert one.id != other.id


def test_a_fit_of_other_weights_is_refused(tmp_path: Path):
    with pytest.raises(FailedPrecondition, match="fit these weights"):
        read(written(tmp_path, TEXT), policy="c" * 64)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", TEXT.replace("0.02", '"0.02"'), TEXT.replace("mean", "max")]
)
def test_a_file_that_is_no_fit_is_refused_by_its_name(tmp_path: Path, text: str):
    with pytest.raises(InvalidInput, match=r"calibration\.json"):
        read(written(tmp_path, text))


def test_a_file_that_is_not_there_is_refused_by_its_name(tmp_path: Path):
    with pytest.raises(InvalidInput, match="nowhere"):
        read(tmp_path / "nowhere")
