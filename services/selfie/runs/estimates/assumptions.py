"""What an estimate rests on, line by line: found in the data, taken from the specification, or assumed."""

from collections.abc import Iterator
from dataclasses import dataclass

from selfie.runs.estimates.data import Case
from selfie.runs.estimates.estimating import Pace, devices
from selfie.runs.estimates.lengths import Length
from selfie.runs.estimates.scenarios import LEAST, LIKELY, MOST
from selfie.runs.estimates.shapes import ModelShape


@dataclass(frozen=True)
class Assumption:
    """One line: about what, and what is taken to be so."""

    subject: str
    statement: str


@dataclass(frozen=True)
class Grounds:
    """Where models and rates come from, in words; no ``reference`` where it is the model itself."""

    model: str
    reference: str | None
    rates: str


def assumptions_of(case: Case, pace: Pace, grounds: Grounds) -> tuple[Assumption, ...]:
    """Everything that the estimate rests on."""
    return (
        *_of_models(case, grounds),
        *_of_data(case),
        *_of_samples(case),
        *_of_time(case, pace, grounds),
        *_of_space(case),
    )


def _of_models(case: Case, grounds: Grounds) -> Iterator[Assumption]:
    yield Assumption("model", f"{_size(case.policy)}; {grounds.model}")
    if grounds.reference is not None:
        yield Assumption("reference model", f"{_size(case.reference)}; {grounds.reference}")


def _of_data(case: Case) -> Iterator[Assumption]:
    for name, pairs in case.data.pairs.items():
        prompt, response = _length(pairs.prompt), _length(pairs.response)
        text = f"{pairs.rows} pairs, prompts of {prompt} tokens, responses of {response}; {pairs.basis}"
        yield Assumption(name, text)
    for name, prompts in case.data.prompts.items():
        text = f"{prompts.rows} prompts of {_length(prompts.prompt)} tokens; {prompts.basis}"
        yield Assumption(name, text)
    yield Assumption(
        "lengths", "given as mean/95 % quantile/longest; normal with the first two, cut off at the longest"
    )


def _of_samples(case: Case) -> Iterator[Assumption]:
    limit = case.spec.generation.max_new_tokens
    yield Assumption(
        "responses",
        f"have {LEAST.response_share:g} to {MOST.response_share:g}, likely {LIKELY.response_share:g}, of "
        f"maxNewTokens ({limit}) in the mean, and the longest all of it",
    )
    yield Assumption(
        "pairs kept",
        f"{LEAST.kept_share:.0%} to {MOST.kept_share:.0%}, likely {LIKELY.kept_share:.0%}, of a round's "
        "prompts give a pair to train on",
    )


def _of_time(case: Case, pace: Pace, grounds: Grounds) -> Iterator[Assumption]:
    spec, rates = case.spec, pace.rates
    scored = "a prompt once for its responses" if case.policy.shares_prompts else "row by row"
    yield Assumption("rates", f"{grounds.rates}; times may be off by a factor of {rates.spread:g}")
    yield Assumption(
        "operations",
        f"those of matrices, attention and head; scored {scored}, trained row by row, padded to the "
        "longest of a micro-batch",
    )
    yield Assumption(
        "starting",
        f"{rates.start:g} s a process, {1e9 * rates.load:g} s a GB of weights, {rates.between:g} s a step",
    )
    yield Assumption(
        "course", "nothing fails, no gate is crossed, nothing waits for capacity, images or downloads"
    )
    if spec.gpus_per_node:
        yield Assumption(
            "devices",
            f"training on {spec.nodes} x {spec.gpus_per_node}, engine on {devices(case, 'engine')}, scoring "
            f"on {devices(case, 'scoring')}; they share the work evenly, and each holds all of the model",
        )
    elif spec.replicas.engine > 1 or spec.replicas.scoring > 1:
        yield Assumption("replicas", "one engine and one scorer, as `selfie run` starts them here")


def _of_space(case: Case) -> Iterator[Assumption]:
    training = case.spec.training
    trained = f"adapters of rank {training.lora.rank}" if training.lora else "all weights"
    kept = "computed again" if case.spec.gpus_per_node else "kept"
    if training.precision == "float32":
        yield Assumption("precision", "float32 in engine, scorer, trainer and checkpoints")
    else:
        yield Assumption(
            "precision",
            f"the trainer's products in {training.precision}, no faster than in float32 where that was not "
            "measured; all else, weights and checkpoints among it, in float32",
        )
    yield Assumption(
        "training",
        f"{trained} with gradients and two moments of AdamW, beside the reference; activations are {kept}, "
        f"{LEAST.activations:g} to {MOST.activations:g} times what the arithmetic says",
    )
    yield Assumption(
        "disk",
        "the store's copy of the model counts, though it is linked where the cache lies on the same disk; "
        f"retention keeps {case.spec.retention.checkpoints} checkpoints and the best round's",
    )


def _size(shape: ModelShape) -> str:
    return f"{shape.parameters / 1e6:,.1f} M parameters, {shape.layers} layers of {shape.hidden}"


def _length(length: Length) -> str:
    return f"{length.mean:.0f}/{length.q95:.0f}/{length.longest:.0f}"
