"""How fast a machine is at each kind of work, and the seconds that follow."""

from dataclasses import dataclass

from selfie.runs.estimates.amounts import Work
from selfie.runs.estimates.shapes import ModelShape


@dataclass(frozen=True, kw_only=True)
class Device:
    """What is assumed of a machine that nobody has measured.

    ``flops`` is the rate of large float32 products, a second; ``bandwidth`` that of memory in bytes;
    ``layer_seconds`` what a pass through a layer takes however few its tokens are. Times may be off
    by the factor ``spread``.
    """

    name: str
    flops: float
    bandwidth: float
    layer_seconds: float
    start_seconds: float
    spread: float


def processors(cores: float) -> Device:
    """So many cores of a server, float32."""
    return Device(
        name=f"{cores:g} cores",
        flops=0.075e12 * cores,
        bandwidth=3e9 * cores,
        layer_seconds=2e-3,
        start_seconds=4.0,
        spread=2.0,
    )


def accelerator() -> Device:
    """One data-centre GPU, float32 without reduced products."""
    return Device(
        name="one data-centre GPU",
        flops=20e12,
        bandwidth=1.5e12,
        layer_seconds=3e-4,
        start_seconds=30.0,
        spread=3.0,
    )


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Operations a second by kind of pass, and seconds of what is not counted in operations.

    ``decoding_step``: one pass of the engine, beyond what its rows add. ``update``: one optimizer step
    beyond its passes. ``start``: a process until it is ready, beside ``load`` seconds for each byte of
    weights that it reads or writes, digests included. ``between``: from a step's end to the next one's
    start. Times may be off by the factor ``spread``.
    """

    scoring: float
    training: float
    partition: float
    decoding: float
    decoding_step: float
    update: float
    start: float
    load: float
    between: float
    spread: float


def assumed_rates(shape: ModelShape, device: Device, *, trained: int | None = None) -> Rates:
    """Rates of a device that was not measured; ``trained`` parameters, if not all of them.

    The shares of the rate of large products are those that two cores with AVX-512 reached: scoring has
    small batches and normalises, decoding has few rows for each weight that it reads, and the
    log-partition of the extrapolated model is mostly exponentials.
    """
    parameters = shape.parameters if trained is None else trained
    return Rates(
        scoring=0.87 * device.flops,
        training=device.flops,
        partition=0.12 * device.flops,
        decoding=0.4 * device.flops,
        decoding_step=shape.weight_bytes / device.bandwidth + shape.layers * device.layer_seconds,
        # AdamW reads weight, gradient and both moments and writes three of them; clipping passes twice.
        update=parameters * 40 / device.bandwidth,
        start=device.start_seconds,
        load=2e-9,
        between=1.0,
        spread=device.spread,
    )


@dataclass(frozen=True)
class Copies:
    """How many devices of each kind share its work evenly."""

    engine: int = 1
    scoring: int = 1
    trainer: int = 1


def seconds_of(work: Work, rates: Rates, copies: Copies) -> float:
    """Seconds that the work itself takes; processes that are started for it come on top."""
    sampling = work.prefill / rates.scoring + work.decoding / rates.decoding
    training = work.training / rates.training + work.partition / rates.partition
    shared = (
        (sampling + work.decoding_steps * rates.decoding_step) / copies.engine
        + work.scoring / rates.scoring / copies.scoring
        + training / copies.trainer
    )
    return shared + work.updates * rates.update
