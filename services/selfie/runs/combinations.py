"""Values that are right one by one and impossible together.

What is refused here could only fail later, run without meaning anything, or be silently ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from selfie.runs.evaluation_fields import EVALUATOR_PAIRS, LEAST_EVALUATOR_PAIRS
from selfie.runs.method_fields import MOST_NEW_TOKENS_OF_TGI
from selfie.runs.violations import Violation

if TYPE_CHECKING:
    from selfie.runs.spec import RunSpec


def impossible_combinations(spec: RunSpec) -> list[Violation]:
    """Every combination in the specification that cannot be run, with the field to change."""
    return [violation for check in _CHECKS for violation in check(spec)]


def _no_seed_needs_a_reference(spec: RunSpec) -> Iterator[Violation]:
    # A policy that equals its reference gives every response the reward 0.
    if spec.seed is not None:
        return
    if spec.reference_model is None:
        yield Violation(
            "spec.seed",
            "is missing, and so is spec.referenceModel: the judge would compare the model with itself",
            "give spec.seed.dataset with labelled pairs, or spec.referenceModel",
        )
    elif (spec.reference_model.uri, spec.reference_model.revision) == (spec.model.uri, spec.model.revision):
        yield Violation(
            "spec.referenceModel",
            "is spec.model itself, and there is no spec.seed: the judge would prefer nothing",
            "name another model, such as the base of an instruct model, or give spec.seed",
        )


def _sizes_need_their_data(spec: RunSpec) -> Iterator[Violation]:
    if spec.seed is not None and spec.seed.heldout_size and spec.seed.heldout is None:
        yield Violation(
            "spec.seed.heldoutSize",
            "has no effect, because spec.seed.heldout is missing",
            "give spec.seed.heldout, or leave it out",
        )
    if spec.evaluation.samples > 1 and spec.evaluation.prompts is None:
        yield Violation(
            "spec.evaluation.samples",
            "has no effect, because spec.evaluation.prompts is missing",
            "give spec.evaluation.prompts.dataset, or leave it out",
        )


def _tgi_samples_in_one_go(spec: RunSpec) -> Iterator[Violation]:
    wanted = spec.generation.max_new_tokens
    if spec.generation.engine == "tgi" and wanted > MOST_NEW_TOKENS_OF_TGI:
        yield Violation(
            "spec.generation.maxNewTokens",
            f"{wanted} is more than the {MOST_NEW_TOKENS_OF_TGI} tokens that tgi samples in one go",
            f"use at most {MOST_NEW_TOKENS_OF_TGI}, or another engine",
        )


def _extrapolation_needs_a_reference(spec: RunSpec) -> Iterator[Violation]:
    given = spec.scoring.lambda_
    if spec.scoring.reference == "none" and given is not None and float(given) > 0:
        yield Violation(
            "spec.scoring.lambda",
            "extrapolates away from a reference, and spec.scoring.reference is none",
            'write "0", or leave it out',
        )


def _window_belongs_to_the_quantile(spec: RunSpec) -> Iterator[Violation]:
    if spec.training.threshold == "parity" and spec.filter.window:
        yield Violation(
            "spec.filter.window",
            "has no effect with spec.training.threshold parity, whose window is fixed",
            "leave it out, or use the threshold quantile",
        )


def _ranks_share_a_batch(spec: RunSpec) -> Iterator[Violation]:
    ranks = spec.nodes * max(spec.gpus_per_node, 1)
    if spec.training.batch % ranks:
        yield Violation(
            "spec.training.batch",
            f"{spec.training.batch} pairs cannot be shared evenly by {ranks} devices (nodes x gpusPerNode)",
            f"use a multiple of {ranks}",
        )


def _evaluator_needs_prompts(spec: RunSpec) -> Iterator[Violation]:
    if spec.evaluation.evaluator != "none" and spec.evaluation.prompts is None:
        yield Violation(
            "spec.evaluation.evaluator",
            "has no responses to judge, because spec.evaluation.prompts is missing",
            "give spec.evaluation.prompts.dataset, or write none",
        )


def _evaluator_needs_pairs_of_its_own(spec: RunSpec) -> Iterator[Violation]:
    evaluation, where = spec.evaluation, "spec.evaluation"
    if evaluation.evaluator != "bradleyTerry":
        if evaluation.evaluator_pairs != EVALUATOR_PAIRS:
            yield Violation(
                f"{where}.evaluatorPairs",
                f"has no effect, because {where}.evaluator is {evaluation.evaluator}",
                "write evaluator: bradleyTerry, or leave it out",
            )
    elif spec.seed is None:
        yield Violation(
            f"{where}.evaluator",
            "bradleyTerry is fitted on labelled pairs, and there is no spec.seed",
            "give spec.seed.dataset with labelled pairs, or write none",
        )
    elif spec.seed.heldout is None:
        # A win rate by an evaluator of unknown worth says nothing.
        yield Violation(
            f"{where}.evaluator",
            "bradleyTerry is itself measured on held-out pairs, and spec.seed.heldout is missing",
            "give spec.seed.heldout with labelled pairs, or write none",
        )
    elif spec.seed.size == 0:
        yield Violation(
            "spec.seed.size",
            "is 0, which trains on every pair, and bradleyTerry is fitted on those that are left",
            f"choose one that leaves at least {LEAST_EVALUATOR_PAIRS} pairs of spec.seed.dataset",
        )


def _gates_need_their_measurements(spec: RunSpec) -> Iterator[Violation]:
    gates, where = spec.evaluation.gates, "spec.evaluation.gates"
    sampled = {
        "maxLengthRatio": gates.max_length_ratio,
        "maxDivergence": gates.max_divergence,
        "maxDuplicateShare": gates.max_duplicate_share,
        "minFinishedShare": gates.min_finished_share,
    }
    for name, bound in sampled.items():
        if bound is not None and spec.evaluation.prompts is None:
            yield Violation(
                f"{where}.{name}",
                "is never measured, because spec.evaluation.prompts is missing",
                "give spec.evaluation.prompts.dataset, or leave it out",
            )
    if gates.max_accuracy_drop is not None and not _has_heldout(spec):
        yield Violation(
            f"{where}.maxAccuracyDrop",
            "is never measured, because spec.seed.heldout is missing",
            "give spec.seed.heldout with labelled pairs, or leave it out",
        )


def _breaches_need_a_bound(spec: RunSpec) -> Iterator[Violation]:
    gates, where = spec.evaluation.gates, "spec.evaluation.gates.onBreach"
    if gates.on_breach != "report" and not gates.bounds:
        yield Violation(
            where,
            f"{gates.on_breach} never happens, because no bound is given",
            "give one, such as maxAccuracyDrop",
        )
    if gates.on_breach == "fallBack" and not _has_heldout(spec):
        yield Violation(
            where,
            "fallBack needs a best round, and without spec.seed.heldout no round is measured",
            "give spec.seed.heldout, or use stop",
        )


def _seed_pairs_need_a_seed_and_a_number_of_steps(spec: RunSpec) -> Iterator[Violation]:
    if spec.training.pairs != "seed":
        return
    if spec.seed is None:
        yield Violation(
            "spec.training.pairs",
            "is seed, and there is no spec.seed",
            "give spec.seed.dataset with labelled pairs, or write selfMade",
        )
        return
    for index, entry in enumerate(spec.rounds):
        if not entry.prompts.count:
            yield Violation(
                f"spec.rounds[{index}].prompts.count",
                "is missing, and with spec.training.pairs seed it says how many pairs a round trains on",
                "give the number of prompts that the run has that this one is to be compared with",
            )


def _tolerations_are_whole(spec: RunSpec) -> Iterator[Violation]:
    for index, toleration in enumerate(spec.placement.tolerations):
        where = f"spec.placement.tolerations[{index}]"
        if toleration.operator == "Exists" and toleration.value:
            yield Violation(f"{where}.value", "is not compared by Exists", "leave it out, or use Equal")
        if toleration.operator == "Equal" and toleration.key is None:
            yield Violation(f"{where}.key", "is needed by Equal", "give it, or use Exists")


def _has_heldout(spec: RunSpec) -> bool:
    return spec.seed is not None and spec.seed.heldout is not None


_CHECKS: tuple[Callable[[RunSpec], Iterator[Violation]], ...] = (
    _no_seed_needs_a_reference,
    _sizes_need_their_data,
    _tgi_samples_in_one_go,
    _extrapolation_needs_a_reference,
    _window_belongs_to_the_quantile,
    _ranks_share_a_batch,
    _evaluator_needs_prompts,
    _evaluator_needs_pairs_of_its_own,
    _gates_need_their_measurements,
    _breaches_need_a_bound,
    _seed_pairs_need_a_seed_and_a_number_of_steps,
    _tolerations_are_whole,
)
