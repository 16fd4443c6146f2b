"""Where each step's inputs come from: which policy a round starts from, and what it is held against.

A round's policy is normally the round's before. After a breach that falls back it is the best
round's, and everything here follows from that.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from selfie.runs.evaluations import RoundEvaluation
from selfie.runs.observed import ManifestSummary
from selfie.runs.spec import RunSpec
from selfie.runs.steps import EVALUATOR, PREPARE, Step, steps_of

PREVIOUS: Final = "previous"
"""Role of the policy that an engine may still hold, although it says otherwise."""

WEIGHTS: Final = frozenset({"policy", "reference", "initial", PREVIOUS})
"""Roles of inputs that are weights, and must be pinned by their digest."""

REFERENCE_SCORES: Final = "reference-scores"
"""Role of an earlier scoring of the same pairs, whose reference log-probabilities still hold."""


@dataclass(frozen=True)
class Source:
    """Files of one group, named by the manifest of a step."""

    step: str
    group: str


@dataclass(frozen=True)
class Input:
    """A source, pinned: the digest of its manifest, and of its weights where it is a checkpoint."""

    source: Source
    manifest_sha256: str
    weights_digest: str | None


def policy_round(spec: RunSpec, number: int, evaluations: Sequence[RoundEvaluation]) -> int:
    """The round whose published policy makes the samples of round ``number`` (from 1)."""
    before = number - 1
    falls_back = spec.evaluation.gates.on_breach == "fallBack"
    if falls_back and before < len(evaluations) and evaluations[before].breaches:
        best = evaluations[before].best
        return 0 if best is None else best
    return before


def added_rounds(spec: RunSpec, manifests: Mapping[str, ManifestSummary]) -> frozenset[int]:
    """Rounds whose prompts the run's first `prepare` does not hold: they were added after it."""
    first = manifests.get(PREPARE.path)
    if first is None or not first.groups:
        return frozenset()
    numbers = range(1, len(spec.rounds) + 1)
    return frozenset(number for number in numbers if prompt_group(number) not in first.groups)


def sources_of(
    spec: RunSpec, step: Step, evaluations: Sequence[RoundEvaluation], added: Collection[int] = ()
) -> Mapping[str, Source]:
    """What the step reads, by role.

    Roles: `prompts`, `samples`, `pairs`, `heldout`, `checkpoint`, `policy`, `reference`, `initial`,
    `evaluator`, `reference-scores`, `previous`.

    ``added``: rounds that have a `prepare` of their own.
    """
    match step.stage:
        case "adopt" | "prepare":
            return {"policy": Source(PREPARE.path, "model")} if step.round else {}
        case "generate":
            prepared = Step(step.round, "prepare") if step.round in added else PREPARE
            policy = published_policy(policy_round(spec, step.round, evaluations))
            return {"prompts": Source(prepared.path, prompt_group(step.round)), "policy": policy}
        case "seed":
            start = Source(PREPARE.path, "model")
            return {"pairs": Source(PREPARE.path, "seed"), "policy": start, "reference": start}
        case "publish":
            return _unpublished(spec, step.round, evaluations)
        case "serve" | "evaluate":
            read = _doubted if step.stage == "serve" else _measured
            measured = read(spec, step, evaluations)
            # An evaluator is fitted before there is a policy, and knows none.
            fits = step.name == EVALUATOR.name
            return measured if fits else {"policy": published_policy(step.round), **measured}
        case _:
            return _self_made(spec, step, evaluations)


def _doubted(spec: RunSpec, step: Step, evaluations: Sequence[RoundEvaluation]) -> Mapping[str, Source]:
    """What an engine's numbers are held against besides the policy's, where somebody is there to do it.

    Selfie's own engine reads and verifies the files itself. Any other is believed as far as its
    numbers go, unless it takes turns with the scoring workers on one accelerator.
    """
    if spec.generation.engine == "embedded" or spec.gpu == "shared":
        return {}
    number = step.round
    return {PREVIOUS: _training_start(spec, number, evaluations) if number else Source(PREPARE.path, "model")}


def fall_back_sources(spec: RunSpec, evaluations: Sequence[RoundEvaluation]) -> frozenset[Source]:
    """What a round would read if the newest one were to breach: the best policy so far, and its reference.

    Empty unless a breach falls back. `sources_of` tells of breaches that were measured, and not of
    those that may be.
    """
    if spec.evaluation.gates.on_breach != "fallBack":
        return frozenset()
    best = evaluations[-1].best if evaluations else None
    origin = 0 if best is None else best
    return frozenset({published_policy(origin), _judge_reference(spec, origin, evaluations)})


def prompt_group(number: int) -> str:
    """Group of a round's prompts in the manifest of `prepare`."""
    return f"prompts-round-{number:02d}"


def pin(sources: Mapping[str, Source], manifests: Mapping[str, ManifestSummary]) -> dict[str, Input]:
    """The inputs whose manifests are there, and whose weights are named where they are weights."""
    pinned: dict[str, Input] = {}
    for role, source in sources.items():
        manifest = manifests.get(source.step)
        digest = manifest.digests.get(source.group) if manifest else None
        if manifest and (digest or role not in WEIGHTS):
            pinned[role] = Input(source, manifest.sha256, digest)
    return pinned


def _measured(spec: RunSpec, step: Step, evaluations: Sequence[RoundEvaluation]) -> Mapping[str, Source]:
    match step.name:
        case "evaluate-initial":
            initial = Source(PREPARE.path, "model")
            return {"prompts": Source(PREPARE.path, "evaluation-prompts"), "policy": initial}
        case "evaluate-samples":
            return {"prompts": Source(PREPARE.path, "evaluation-prompts")}
        case "evaluate-heldout":
            reference = _judge_reference(spec, step.round, evaluations)
            found = {"pairs": Source(PREPARE.path, "heldout"), "reference": reference}
            if step.round > 0 and reference == initial_model(spec):
                # Round 0 judged the same pairs against the same model.
                found[REFERENCE_SCORES] = Source(Step(0, step.name).path, "responses")
            return found
        case "evaluate-measures":
            samples = Source(Step(step.round, "evaluate-samples").path, "samples")
            return {"samples": samples, "reference": initial_model(spec)}
        case "evaluator" | "evaluate-ratings":
            return {"initial": Source(PREPARE.path, "model"), **_rated(spec, step)}
        case _:
            return {}


def _rated(spec: RunSpec, step: Step) -> Mapping[str, Source]:
    """What an evaluator is fitted on and measured by, or the evaluator itself; and the samples it rates."""
    fits = step.name == EVALUATOR.name
    sampled = Step(step.round, "evaluate-initial" if fits else "evaluate-samples")
    samples = {"samples": Source(sampled.path, "samples")} if sampled in steps_of(spec) else {}
    if not fits:
        return {"evaluator": Source(EVALUATOR.path, "evaluator"), **samples}
    return {
        "pairs": Source(PREPARE.path, "evaluator"),
        "heldout": Source(PREPARE.path, "heldout"),
        **samples,
    }


def _self_made(spec: RunSpec, step: Step, evaluations: Sequence[RoundEvaluation]) -> Mapping[str, Source]:
    number = step.round
    origin = policy_round(spec, number, evaluations)
    match step.name:
        case "score":
            samples = Source(Step(number, "generate").path, "samples")
            reference = _judge_reference(spec, origin, evaluations)
            return {"samples": samples, "policy": published_policy(origin), "reference": reference}
        case "filter":
            return {"pairs": Source(Step(number, "score").path, "pairs")}
        case _:
            start = _training_start(spec, number, evaluations)
            pairs = Source(Step(number, "filter").path, "pairs")
            if spec.training.pairs == "seed":
                pairs = Source(PREPARE.path, "seed")
            # The policy made the pairs; training starts from `start` and is measured against it.
            return {"pairs": pairs, "policy": published_policy(origin), "reference": start}


def published_policy(number: int) -> Source:
    """The policy that a round has published; round 0 is the seed's."""
    return Source(Step(number, "publish").path, "checkpoint")


def initial_model(spec: RunSpec) -> Source:
    """What the judge holds every policy against, unless it is told otherwise."""
    return Source(PREPARE.path, "reference" if spec.reference_model else "model")


def _judge_reference(spec: RunSpec, origin: int, evaluations: Sequence[RoundEvaluation]) -> Source:
    # Judged without a reference, the initial model is still held: the scorer measures against it.
    if spec.scoring.reference != "previous" or origin == 0:
        return initial_model(spec)
    return published_policy(policy_round(spec, origin, evaluations))


def _training_start(spec: RunSpec, number: int, evaluations: Sequence[RoundEvaluation]) -> Source:
    if spec.training.initial_policy == "initial":
        return Source(PREPARE.path, "model")
    return published_policy(policy_round(spec, number, evaluations))


def _unpublished(spec: RunSpec, number: int, evaluations: Sequence[RoundEvaluation]) -> Mapping[str, Source]:
    model = Source(PREPARE.path, "model")
    if number > 0:
        start = _training_start(spec, number, evaluations)
        return {"checkpoint": Source(Step(number, "train").path, "checkpoint"), "policy": start}
    if spec.seed is None:
        return {"checkpoint": model}
    return {"checkpoint": Source(Step(0, "seed").path, "checkpoint"), "policy": model}
