"""The step log counts ties as halves, survives a checkpoint, and stops where a loss is no number."""

import json

import pytest

from selfie.errors import FailedPrecondition
from selfie.training.trainer.steps import STEP_SCHEMA, Measured, StepRecord, noise_table, step_table

LOGS = {"loss": 0.69, "learning_rate": 1e-5, "grad_norm": 2.0}


def measured() -> Measured:
    values = {4: (1.0, 2.0, 0.0), 0: (0.0, 0.1, 0.0), 2: (-2.0, -3.0, 1.0)}
    return Measured.of(values, threshold=-0.5, tokens=120)


def test_accuracy_counts_a_margin_of_zero_as_a_half() -> None:
    assert measured().accuracy == pytest.approx(0.5)
    assert (measured().pairs, measured().noisy) == (3, 1)
    assert measured().margin == pytest.approx(-1 / 3)
    assert measured().extrapolated_margin == pytest.approx(-0.3)


def test_a_record_survives_json() -> None:
    record = StepRecord.of_step(measured(), step=4, logs=LOGS)
    assert StepRecord.from_json(json.loads(json.dumps(record.as_json()))) == record


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_ends_the_training(loss: float) -> None:
    with pytest.raises(FailedPrecondition, match=r"step 4; lower the round's learningRate") as caught:
        StepRecord.of_step(measured(), step=4, logs=LOGS | {"loss": loss})
    assert caught.value.reason == "TrainingDiverged"


def test_the_log_is_a_table_with_a_documented_schema() -> None:
    table = step_table([StepRecord.of_step(measured(), step=4, logs=LOGS)])
    assert table.schema == STEP_SCHEMA
    assert all(field.metadata[b"doc"] for field in table.schema)
    assert table.to_pylist()[0]["threshold"] == -0.5


def test_what_is_said_of_each_pair_counts_how_often_it_was_noisy() -> None:
    records = [StepRecord.of_step(measured(), step=step, logs=LOGS) for step in (4, 9)]
    table = noise_table(records, [f"pair-{row}" for row in range(5)])
    assert table.to_pylist() == [
        {"pair_id": f"pair-{row}", "times_noisy": 2 if row == 2 else 0} for row in range(5)
    ]
