"""Parameters are refused by the path of the wrong field; what decides the outcome is told apart."""

from typing import Any

import pytest

from selfie.artifacts.programs import parse
from selfie.errors import InvalidInput
from selfie.training.trainer.parameters import TrainingParameters

DIGEST = "0" * 64


def given(**changes: Any) -> dict[str, Any]:
    plain = {
        "attempt": {"runUri": "file:///runs/a", "step": "rounds/01/train", "number": 1, "runUid": "u"},
        "kind": "round",
        "policy": {"step": "rounds/00/publish", "digest": DIGEST},
        "pairs": {"path": "rounds/01/filter/manifest.json", "sha256": DIGEST, "group": "pairs"},
        "learningRate": 5e-6,
        "cacheDir": "/cache",
    }
    return plain | changes


def test_the_defaults_are_those_of_the_paper() -> None:
    parameters = parse(TrainingParameters, given())
    assert (parameters.beta, parameters.smoothing, parameters.noisy_percent) == (0.1, 0.1, 10)
    assert (parameters.warmup_ratio, parameters.scheduler, parameters.warmup_percent) == (0.1, "cosine", 20)
    assert (parameters.batch, parameters.epochs, parameters.refinement) == (32, 1, "online")
    assert parameters.policy.group == "checkpoint"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"lambda": -1}, "parameters.lambda"),
        ({"beta": 0}, "parameters.beta"),
        ({"smoothing": 0.6}, "parameters.smoothing"),
        ({"lamda": 0.5}, "parameters.lamda"),
        ({"policy": {"step": "prepare", "digest": "abc"}}, "parameters.policy.digest"),
        ({"initialPolicy": "initial"}, "parameters"),
        ({"refinement": "sometimes"}, "parameters.refinement"),
        ({"lora": {"rank": 0}}, "parameters.lora.rank"),
    ],
    ids=str,
)
def test_a_wrong_value_is_named_by_its_path(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse(TrainingParameters, given(**changes))
    assert caught.value.field == field


def test_the_policy_is_start_and_reference_unless_the_initial_one_is() -> None:
    initial = {"step": "prepare", "group": "model", "digest": "1" * 64}
    assert parse(TrainingParameters, given(initial=initial)).start.digest == DIGEST
    assert parse(TrainingParameters, given(initial=initial, initialPolicy="initial")).start.digest == "1" * 64


def test_place_and_pace_do_not_belong_to_the_method() -> None:
    here = parse(TrainingParameters, given(threads=1, checkpointSeconds=5, cacheDir="/here"))
    there = parse(TrainingParameters, given(threads=2, checkpointSeconds=9, cacheDir="/there"))
    assert here.method() == there.method()
    assert here.method() != parse(TrainingParameters, given(randomSeed=1)).method()
