"""From what was tried out to rates, and to what a process takes beyond the arithmetic of its memory."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from selfie.runs.estimates.estimating import Pace
from selfie.runs.estimates.memory import ProcessKind
from selfie.runs.estimates.rates import Rates
from selfie.runs.estimates.scenarios import LIKELY
from selfie.runs.estimates.shapes import ModelShape
from selfie.runs.estimates.trials import AnyTrial, SamplingTrial, ScoringTrial, TrainingTrial

SPREAD: Final = 1.3
"""By which a step's time differs from what a short trial on the same machine says of it."""


@dataclass(frozen=True, kw_only=True)
class ScoringTime:
    """Seconds of the batch; bytes of memory of its process at most."""

    trial: ScoringTrial
    seconds: float
    peak_bytes: float


@dataclass(frozen=True, kw_only=True)
class SamplingTime:
    """Seconds of one decoding step with all rows, and with few."""

    trial: SamplingTrial
    step_seconds: float
    few_step_seconds: float
    peak_bytes: float


@dataclass(frozen=True, kw_only=True)
class TrainingTime:
    """Seconds of a step's passes, of its update, and of the log-partition by itself; 0 if not asked."""

    trial: TrainingTrial
    seconds: float
    update_seconds: float
    partition_seconds: float
    peak_bytes: float


@dataclass(frozen=True)
class Measured:
    """What trials showed; None where there was none, and why in ``notes``."""

    scoring: ScoringTime | None = None
    sampling: SamplingTime | None = None
    training: TrainingTime | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """One trial in words: what was done, what was measured, what follows."""

    trial: str
    measured: str
    follows: str


def measured_pace(shape: ModelShape, assumed: Rates, measured: Measured) -> Pace:
    """The pace of the machine that was measured.

    What is still assumed is scaled as scoring was found to be against its assumption, and keeps the
    assumption's spread with all else unless everything was measured.
    """
    rates = assumed
    beyond: dict[ProcessKind, float] = {}
    if (scoring := measured.scoring) is not None:
        rates = _scaled(rates, scoring.trial.operations(shape) / scoring.seconds / assumed.scoring)
        beyond["scoring"] = _beyond(shape, scoring.trial, scoring.peak_bytes)
    if (sampling := measured.sampling) is not None:
        rates = _with_sampling(rates, shape, sampling)
        beyond["engine"] = _beyond(shape, sampling.trial, sampling.peak_bytes)
    if (training := measured.training) is not None:
        rates = _with_training(rates, shape, training)
        beyond["trainer"] = _beyond(shape, training.trial, training.peak_bytes)
    return Pace(replace(rates, spread=SPREAD) if len(beyond) == 3 else rates, beyond)


def findings(shape: ModelShape, measured: Measured, pace: Pace) -> Iterator[Finding]:
    """Each trial with what it showed, and what the rates are because of it."""
    rates = pace.rates
    if (scoring := measured.scoring) is not None:
        tried = scoring.trial
        yield Finding(
            f"score {tried.prompts} x {tried.responses} responses by two models",
            f"{scoring.seconds:.2g} s, {_memory(shape, tried, scoring.peak_bytes)}",
            _tera(rates.scoring),
        )
    if (sampling := measured.sampling) is not None:
        yield Finding(
            f"decode {sampling.trial.rows} rows, then {sampling.trial.few_rows}",
            f"{sampling.step_seconds:.2g} and {sampling.few_step_seconds:.2g} s a step, "
            f"{_memory(shape, sampling.trial, sampling.peak_bytes)}",
            f"{rates.decoding_step:.2g} s a step and {_tera(rates.decoding)}",
        )
    if (training := measured.training) is not None:
        yield Finding(
            f"train on {training.trial.pairs} pairs, update",
            f"{training.seconds:.2g} and {training.update_seconds:.2g} s, "
            f"{_memory(shape, training.trial, training.peak_bytes)}",
            f"{_tera(rates.training)}, and {rates.update:.2g} s an update",
        )
        if training.partition_seconds:
            yield Finding(
                f"log-partition of {training.trial.positions} positions",
                f"{training.partition_seconds:.2g} s",
                _tera(rates.partition),
            )


def _scaled(rates: Rates, factor: float) -> Rates:
    return replace(
        rates,
        scoring=rates.scoring * factor,
        training=rates.training * factor,
        partition=rates.partition * factor,
        decoding=rates.decoding * factor,
        decoding_step=rates.decoding_step / factor,
        update=rates.update / factor,
    )


def _with_sampling(rates: Rates, shape: ModelShape, found: SamplingTime) -> Rates:
    """A line through both measurements: what a step takes, and what each row adds."""
    rows = found.trial.rows - found.trial.few_rows
    added = found.step_seconds - found.few_step_seconds
    if rows <= 0 or added <= 0:
        # No slope to be seen: all of a step is put down to its rows.
        return replace(
            rates,
            decoding=found.trial.rows * found.trial.of_a_token(shape) / found.step_seconds,
            decoding_step=0.0,
        )
    row = added / rows
    fixed = max(found.few_step_seconds - found.trial.few_rows * row, 0.0)
    return replace(rates, decoding=found.trial.of_a_token(shape) / row, decoding_step=fixed)


def _with_training(rates: Rates, shape: ModelShape, found: TrainingTime) -> Rates:
    partition = rates.partition
    if found.partition_seconds:
        partition = found.trial.of_the_partition(shape) / found.partition_seconds
    training = found.trial.operations(shape) / found.seconds
    return replace(rates, training=training, partition=partition, update=found.update_seconds)


def _beyond(shape: ModelShape, trial: AnyTrial, peak: float) -> float:
    """Bytes of memory beyond the arithmetic; negative where there were fewer."""
    return peak - trial.footprint(shape).peak(LIKELY)


def _memory(shape: ModelShape, trial: AnyTrial, peak: float) -> str:
    return f"{peak / 1e9:.2f} GB (arithmetic: {trial.footprint(shape).peak(LIKELY) / 1e9:.2f})"


def _tera(rate: float) -> str:
    return f"{rate / 1e12:.3g} TFLOP/s"
