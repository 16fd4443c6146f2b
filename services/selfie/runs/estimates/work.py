"""How much each step of a run has to do, from what the services and the trainer do with such rows."""

import math
from collections.abc import Callable, Mapping
from typing import Final

from selfie.runs.estimates import flops, ratings
from selfie.runs.estimates.amounts import Work
from selfie.runs.estimates.data import HELDOUT, SEED, Case, PromptSizes
from selfie.runs.estimates.lengths import Length, Pairs
from selfie.runs.estimates.scenarios import Scenario
from selfie.runs.lineage import REFERENCE_SCORES, sources_of
from selfie.runs.resolving import pairs_at_once, settings_of
from selfie.runs.steps import Step

ENGINE_ROWS, ENGINE_TOKENS = 128, 32_768
"""Most responses that the engine decodes together, and most tokens of these; a test compares."""

PARITY_PAIRS = 8
"""Pairs that the trainer compares with the scorer before a round; a test compares."""

SHARD_ROWS, PREPARED_ROWS = 64, 1000
"""Rows of a service's shard, and of one that `prepare` writes."""


def work_of(case: Case, step: Step, scenario: Scenario) -> Work:
    """What ``step`` has to do."""
    return WORK[step.name](case, step, scenario)


def self_made(case: Case, scenario: Scenario) -> Length:
    """Length of responses that the policy samples."""
    limit = case.spec.generation.max_new_tokens
    return Length(max(scenario.response_share * limit, 1.0), limit, limit)


def training_pairs(case: Case, step: Step, scenario: Scenario) -> Pairs:
    """The pairs of a `seed` or `train` step."""
    if step.name == "seed":
        labelled = case.data.pairs[SEED]
        return Pairs(labelled.rows, labelled.prompt, labelled.response)
    rules, prompts = case.spec.filter, case.data.prompts_of(step)
    if case.spec.training.pairs == "seed":
        # A control: the seed's pairs again, as many as the round has prompts.
        labelled = case.data.pairs[SEED]
        return Pairs(max(prompts.rows, 1), labelled.prompt, labelled.response)
    kept = scenario.kept_share * (1 - rules.noisy_percent / 100 if rules.action == "drop" else 1)
    return Pairs(max(round(prompts.rows * kept), 1), prompts.prompt, self_made(case, scenario))


def is_extrapolated(case: Case, step: Step) -> bool:
    """Whether the step's training finds noisy pairs by a model extrapolated beyond the learner."""
    training = case.spec.training
    online = step.round > 0 and training.refinement == "online" and training.pairs == "selfMade"
    return online and settings_of(case.spec, step.round).lambda_ > 0


def _prepare(case: Case, _step: Step, _scenario: Scenario) -> Work:
    pairs, prompts = [*case.data.pairs.values(), *ratings.evaluator_pairs(case)], case.data.prompts.values()
    groups = [*pairs, *prompts]
    asked = sum(group.rows * group.prompt.mean for group in groups)
    answered = sum(2 * group.rows * group.response.mean for group in pairs)
    return Work(
        prompts=sum(group.rows for group in prompts),
        pairs=sum(group.rows for group in pairs),
        prompt_tokens=asked,
        response_tokens=answered,
        shards=sum(math.ceil(group.rows / PREPARED_ROWS) for group in groups),
        rows_written=sum(group.rows for group in groups),
        tokens_written=asked + answered,
    )


def _adopt(_case: Case, _step: Step, _scenario: Scenario) -> Work:
    # What another run has done is seen when it is read; a plan takes it that all is still to do.
    return Work()


def _train(case: Case, step: Step, scenario: Scenario) -> Work:
    spec, pairs = case.spec, training_pairs(case, step, scenario)
    epochs, rows = settings_of(spec, step.round).epochs, 2 * pairs.count
    tokens = pairs.row_tokens(batch=spec.training.batch, at_once=pairs_at_once(spec))
    positions = rows * pairs.response.mean
    heads = flops.head(case.policy, positions)
    before = flops.forward(case.policy, rows, tokens) + heads
    extrapolated = is_extrapolated(case, step)
    # Of pairs that are seen again the reference's sums are kept, but an extrapolated model wants its logits.
    references = epochs if extrapolated else 1
    compared = min(PARITY_PAIRS / pairs.count, 1.0) if step.round else 0.0
    learned = flops.learned(case.policy, rows, tokens, positions, kind=_kind(case))
    updates = epochs * math.ceil(pairs.count / spec.training.batch)
    return Work(
        pairs=pairs.count,
        prompt_tokens=pairs.count * pairs.prompt.mean,
        response_tokens=positions,
        training=epochs * learned + (references + compared) * before,
        partition=epochs * 2 * heads if extrapolated else 0.0,
        updates=updates,
        shards=1,
        rows_written=updates,
    )


def _kind(case: Case) -> flops.LearningKind:
    if case.spec.training.lora:
        return "adapters"
    return "checkpointed" if case.spec.gpus_per_node else "full"


def _sample(case: Case, step: Step, scenario: Scenario) -> Work:
    prompts, length = case.data.prompts_of(step), self_made(case, scenario)
    rows = prompts.rows * _samples(case, step)
    asked, answered = prompts.rows * prompts.prompt.mean, rows * length.mean
    prefill, decoding = flops.sampled(case.policy, prompts.prompt.mean, length.mean, _samples(case, step))
    room = ENGINE_TOKENS // math.ceil(prompts.prompt.longest + length.longest)
    batches = math.ceil(rows / max(1, min(ENGINE_ROWS, room)))
    return Work(
        prompts=prompts.rows,
        samples=rows,
        prompt_tokens=asked,
        response_tokens=answered,
        prefill=prompts.rows * prefill,
        decoding=prompts.rows * decoding,
        decoding_steps=batches * length.largest_of(rows),
        shards=math.ceil(rows / SHARD_ROWS),
        rows_written=rows,
        tokens_written=asked + answered,
    )


def _score(case: Case, step: Step, scenario: Scenario) -> Work:
    prompts = case.data.prompts_of(step)
    pairs = prompts.rows if step.name == "score" else 0
    return _judged(case, prompts, self_made(case, scenario), responses=_samples(case, step), pairs=pairs)


def _evaluate_heldout(case: Case, step: Step, _scenario: Scenario) -> Work:
    labelled = case.data.pairs[HELDOUT]
    alone = REFERENCE_SCORES in sources_of(case.spec, step, ())
    return _judged(case, labelled, labelled.response, responses=2, pairs=labelled.rows, alone=alone)


def _judged(
    case: Case, prompts: PromptSizes, length: Length, *, responses: int, pairs: int, alone: bool = False
) -> Work:
    """Responses under policy and reference, or the policy ``alone``, and the pairs made of them."""
    models = (case.policy,) if alone else (case.policy, case.reference)
    each = sum(flops.scored(shape, prompts.prompt.mean, length.mean, responses) for shape in models)
    rows = prompts.rows * responses
    asked, answered = prompts.rows * prompts.prompt.mean, rows * length.mean
    return Work(
        prompts=prompts.rows,
        samples=rows,
        pairs=pairs,
        prompt_tokens=asked,
        response_tokens=answered,
        scoring=prompts.rows * each,
        shards=2 * math.ceil(rows / SHARD_ROWS),
        rows_written=rows + pairs,
        tokens_written=asked + answered + pairs * (prompts.prompt.mean + 2 * length.mean),
    )


def _filter(case: Case, step: Step, scenario: Scenario) -> Work:
    prompts, length = case.data.prompts_of(step), self_made(case, scenario)
    asked, answered = prompts.rows * prompts.prompt.mean, 2 * prompts.rows * length.mean
    return Work(
        pairs=prompts.rows,
        prompt_tokens=asked,
        response_tokens=answered,
        shards=math.ceil(prompts.rows * _samples(case, step) / SHARD_ROWS),
        rows_written=prompts.rows,
        tokens_written=asked + answered,
    )


def _samples(case: Case, step: Step) -> int:
    spec = case.spec
    return spec.evaluation.samples if step.stage == "evaluate" else spec.generation.samples_per_prompt


def _fit_evaluator(case: Case, _step: Step, scenario: Scenario) -> Work:
    return ratings.fitted(case, self_made(case, scenario))


def _rate(case: Case, _step: Step, scenario: Scenario) -> Work:
    return ratings.rated(case, self_made(case, scenario))


def _little(_case: Case, _step: Step, _scenario: Scenario) -> Work:
    return Work()


WORK: Final[Mapping[str, Callable[[Case, Step, Scenario], Work]]] = {
    "prepare": _prepare,
    "seed": _train,
    "publish": _little,
    "serve": _little,
    "adopt": _adopt,
    "evaluate-initial": _sample,
    "evaluate-samples": _sample,
    "evaluate-heldout": _evaluate_heldout,
    "evaluate-measures": _score,
    "evaluator": _fit_evaluator,
    "evaluate-ratings": _rate,
    "generate": _sample,
    "score": _score,
    "filter": _filter,
    "train": _train,
}
"""Every name of a step, with the function that knows its work."""
