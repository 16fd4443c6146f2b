"""The log of a training: one record for each optimizer step, kept through restarts."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa

from selfie.errors import FailedPrecondition


@dataclass(frozen=True)
class Measured:
    """What the pairs of one step showed, over all ranks."""

    pairs: int
    tokens: int
    accuracy: float
    margin: float
    extrapolated_margin: float
    threshold: float | None
    noisy: int
    noisy_rows: tuple[int, ...]

    @classmethod
    def of(cls, values: Mapping[int, Sequence[float]], *, threshold: float | None, tokens: int) -> Self:
        """From (margin, extrapolated margin, 1 if noisy) of each pair by row, and the threshold in force."""
        margins, extrapolated, noisy = np.asarray(list(values.values()), dtype=np.float64).T
        return cls(
            pairs=len(values),
            tokens=tokens,
            accuracy=float((margins > 0).mean() + 0.5 * (margins == 0).mean()),
            margin=float(margins.mean()),
            extrapolated_margin=float(extrapolated.mean()),
            threshold=threshold,
            noisy=int(noisy.sum()),
            noisy_rows=tuple(row for row, (*_, doubted) in values.items() if doubted),
        )


@dataclass(frozen=True)
class StepRecord(Measured):
    """One optimizer step, counted from 1; ``loss`` is the mean over its pairs, before the update."""

    step: int
    loss: float
    learning_rate: float
    gradient_norm: float

    @classmethod
    def of_step(cls, measured: Measured, *, step: int, logs: dict[str, float]) -> Self:
        """`FailedPrecondition` where the loss is no number: later steps would only train on that."""
        if not math.isfinite(logs["loss"]):
            raise FailedPrecondition(
                "TrainingDiverged",
                f"the loss is {logs['loss']} at step {step}; lower the round's learningRate",
            )
        return cls(
            **asdict(measured),
            step=step,
            loss=logs["loss"],
            learning_rate=logs["learning_rate"],
            gradient_norm=logs["grad_norm"],
        )

    def as_json(self) -> dict[str, Any]:
        """A JSON object; floats survive exactly."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """The record that `as_json` was made from."""
        return cls(**{**value, "noisy_rows": tuple(value["noisy_rows"])})


def _column(name: str, kind: pa.DataType, doc: str, *, nullable: bool = False) -> pa.Field:
    return pa.field(name, kind, nullable=nullable, metadata={"doc": doc})


STEP_SCHEMA = pa.schema(
    [
        _column("step", pa.int32(), "Optimizer step, counted from 1."),
        _column("pairs", pa.int32(), "Pairs in the step, on all ranks."),
        _column(
            "tokens", pa.int64(), "Tokens that the learner read, prompts and both responses, without padding."
        ),
        _column("loss", pa.float64(), "Mean loss of the step's pairs, before the update."),
        _column(
            "accuracy", pa.float64(), "Share of pairs whose margin is above 0; a margin of 0 counts a half."
        ),
        _column("margin", pa.float64(), "Mean training margin, beta-scaled, in nats."),
        _column("extrapolated_margin", pa.float64(), "Mean margin of the extrapolated model."),
        _column(
            "threshold", pa.float64(), "Threshold in force; null while nothing could be noisy.", nullable=True
        ),
        _column("noisy", pa.int32(), "Pairs whose label was taken to be noisy."),
        _column("noisy_rows", pa.list_(pa.int32()), "Those pairs, by their place among the round's, from 0."),
        _column("learning_rate", pa.float64(), "Learning rate of the update."),
        _column("gradient_norm", pa.float64(), "Norm of the gradient before it was clipped."),
    ]
)
"""Columns of the log that a training publishes."""

NOISE_SCHEMA = pa.schema(
    [
        _column("pair_id", pa.string(), "The pair."),
        _column("times_noisy", pa.int32(), "How often its label was taken to be noisy, over all epochs."),
    ]
)
"""Columns of what a training says of each of its pairs."""


def step_table(records: Sequence[StepRecord]) -> pa.Table:
    """The log as a table by `STEP_SCHEMA`."""
    return pa.Table.from_pylist([record.as_json() for record in records], schema=STEP_SCHEMA)


def noise_table(records: Sequence[StepRecord], pair_ids: Sequence[str]) -> pa.Table:
    """How often each pair was taken to be noisy, by `NOISE_SCHEMA`."""
    times = Counter(row for record in records for row in record.noisy_rows)
    rows = [{"pair_id": pair_id, "times_noisy": times[row]} for row, pair_id in enumerate(pair_ids)]
    return pa.Table.from_pylist(rows, schema=NOISE_SCHEMA)
