"""Which steps of another run are also steps of this one: the same work on the same inputs.

Two steps are the same work if their specifications agree in every field that the work depends on,
and if all that they read was made by steps that are the same. What a field decides is said once,
below; how a run is carried out (`OperationFields`) decides nothing.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from selfie.runs.evaluations import RoundEvaluation, evaluations_of
from selfie.runs.lineage import Source, added_rounds, prompt_group, sources_of
from selfie.runs.observed import ManifestSummary
from selfie.runs.records import Record
from selfie.runs.resolving import settings_of
from selfie.runs.spec import RunSpec
from selfie.runs.steps import ADOPT, PREPARE, Step, steps_of


@dataclass(frozen=True)
class Adoption:
    """What can be taken over: steps in their order, without the groups ``left_out`` of `prepare`.

    Those are prompts of rounds for which this run has other ones; it prepares its own. ``left`` are
    the steps that are still to be done, and ``read`` is what they will read of what was taken over, as
    far as it is known before any of them is done.
    """

    steps: tuple[Step, ...] = ()
    left: tuple[Step, ...] = ()
    left_out: frozenset[str] = frozenset()
    read: frozenset[Source] = frozenset()


def adoption(
    spec: RunSpec, donor: RunSpec, manifests: Mapping[str, ManifestSummary], *, sound: Collection[str]
) -> Adoption:
    """What a run of ``spec`` can take over from one of ``donor``.

    ``manifests`` are the donor's by step; ``sound`` names those of which every file is there.
    """
    if PREPARE.path not in sound or work_of(spec, PREPARE) != work_of(donor, PREPARE):
        return Adoption(left=tuple(step for step in steps_of(spec) if step != ADOPT))
    left_out = _other_prompts(spec, donor)
    prepared = manifests[PREPARE.path]
    taken = {PREPARE.path: replace(prepared, groups=prepared.groups - left_out)}
    ours, theirs = _View(spec, taken), _View(donor, manifests)
    for step in steps_of(spec, ours.added):
        if step in (ADOPT, PREPARE) or step.path not in sound:
            continue
        if not ours.gates_are_passed_before(step):
            break
        if _is_same(step, ours, theirs):
            taken[step.path] = manifests[step.path]
    every = [step for step in steps_of(spec, ours.added) if step != ADOPT]
    left = tuple(step for step in every if step.path not in taken)
    return Adoption(
        steps=tuple(step for step in every if step.path in taken),
        left=left,
        left_out=left_out,
        read=frozenset(source for step in left for source in ours.sources(step).values()),
    )


@dataclass(frozen=True)
class _View:
    """A run's specification with the manifests that it has, or will have taken over."""

    spec: RunSpec
    manifests: Mapping[str, ManifestSummary]

    @property
    def added(self) -> frozenset[int]:
        return added_rounds(self.spec, self.manifests)

    @property
    def evaluations(self) -> Sequence[RoundEvaluation]:
        return evaluations_of(self.spec, self.manifests)

    def sources(self, step: Step) -> Mapping[str, Source]:
        return sources_of(self.spec, step, self.evaluations, self.added)

    def gates_are_passed_before(self, step: Step) -> bool:
        """Whether the gates, where they decide anything, are known to let the run come to this round."""
        decides, done = self.spec.evaluation.gates.on_breach, self.evaluations
        if decides == "report" or step.round == 0:
            return True
        if len(done) < step.round:
            return False
        return decides != "stop" or not any(entry.breaches for entry in done[: step.round])


def _is_same(step: Step, ours: _View, theirs: _View) -> bool:
    sources = ours.sources(step)
    return (
        sources == theirs.sources(step)
        and all(source.step in ours.manifests for source in sources.values())
        and work_of(ours.spec, step) == work_of(theirs.spec, step)
    )


def work_of(spec: RunSpec, step: Step) -> dict[str, Any]:
    """The fields that decide what the step makes of its inputs."""
    return {"randomSeed": spec.random_seed, **_OF_STEP[step.name](spec, step.round)}


def _prepared(spec: RunSpec, number: int) -> dict[str, Any]:
    if number:
        return {"prompts": _plain(spec.rounds[number - 1].prompts), **_prompt_limit(spec)}
    seed = spec.seed
    return {
        "model": _plain(spec.model, exclude={"secret_ref"}),
        "referenceModel": _plain(spec.reference_model, exclude={"secret_ref"}),
        "seed": _plain(seed, exclude={"epochs", "learning_rate"}),
        "evaluation": _plain(spec.evaluation.prompts),
        "evaluatorPairs": _evaluator_pairs(spec),
        **_prompt_limit(spec),
    }


def _evaluator_pairs(spec: RunSpec) -> int:
    return spec.evaluation.evaluator_pairs if spec.evaluation.evaluator == "bradleyTerry" else 0


def _sampled(spec: RunSpec, _number: int) -> dict[str, Any]:
    return _plain(spec.generation, exclude={"max_prompt_tokens"})


def _sampled_for_evaluation(spec: RunSpec, number: int) -> dict[str, Any]:
    return {**_sampled(spec, number), "samplesPerPrompt": spec.evaluation.samples}


def _scored(spec: RunSpec, number: int) -> dict[str, Any]:
    return {**_by_the_judge(spec, number), "finishedOnly": spec.filter.cut == "dropCutResponses"}


def _measured(spec: RunSpec, number: int) -> dict[str, Any]:
    # What is measured is always the judge of the method, on samples that evaluation drew.
    return {**_by_the_judge(spec, number), "judge": "implicit", "samples": spec.evaluation.samples}


def _by_the_judge(spec: RunSpec, number: int) -> dict[str, Any]:
    return {**_plain(spec.scoring), "lambda": settings_of(spec, number).scoring_lambda}


def _judged(spec: RunSpec, _number: int) -> dict[str, Any]:
    return {**_plain(spec.scoring), "judge": "implicit", "lambda": 0.0}


def _filtered(spec: RunSpec, _number: int) -> dict[str, Any]:
    return _plain(spec.filter)


def _trained(spec: RunSpec, number: int) -> dict[str, Any]:
    settings = settings_of(spec, number)
    own = {"learningRate": settings.learning_rate, "epochs": settings.epochs, "lambda": settings.lambda_}
    # On the seed's pairs a round's number of prompts says how many steps are made.
    prompts = spec.rounds[number - 1].prompts.count if number and spec.training.pairs == "seed" else 0
    return {**_plain(spec.training), **own, "filter": _plain(spec.filter), "prompts": prompts}


def _seeded(spec: RunSpec, number: int) -> dict[str, Any]:
    # People's labels are not refined, and the seed trains on nothing else.
    unused = {"refinement", "threshold", "pairs", "learning_rate", "epochs"}
    settings = settings_of(spec, number)
    own = {"learningRate": settings.learning_rate, "epochs": settings.epochs}
    return {**_plain(spec.training, exclude=unused), **own}


def _as_it_is(_spec: RunSpec, _number: int) -> dict[str, Any]:
    return {}


_OF_STEP = {
    "prepare": _prepared,
    "evaluate-initial": _sampled_for_evaluation,
    "evaluator": _as_it_is,
    "seed": _seeded,
    "publish": _as_it_is,
    "serve": _sampled,
    "evaluate-samples": _sampled_for_evaluation,
    "evaluate-heldout": _judged,
    "evaluate-measures": _measured,
    "evaluate-ratings": _as_it_is,
    "generate": _sampled,
    "score": _scored,
    "filter": _filtered,
    "train": _trained,
}


def _other_prompts(spec: RunSpec, donor: RunSpec) -> frozenset[str]:
    """Groups of the donor's prompts that a round of this run does not use."""
    same = {
        number
        for number, (ours, theirs) in enumerate(zip(spec.rounds, donor.rounds, strict=False), start=1)
        if ours.prompts == theirs.prompts
    }
    return frozenset(prompt_group(n) for n in range(1, len(donor.rounds) + 1) if n not in same)


def _prompt_limit(spec: RunSpec) -> dict[str, Any]:
    return {"maxPromptTokens": spec.generation.max_prompt_tokens}


def _plain(record: Record | None, *, exclude: set[str] | None = None) -> dict[str, Any]:
    return {} if record is None else record.model_dump(mode="json", by_alias=True, exclude=exclude)
