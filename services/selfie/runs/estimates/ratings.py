"""What a fitted evaluator has to do: it embeds responses by the initial model, each with its prompt."""

from collections.abc import Sequence
from dataclasses import replace

from selfie.runs.estimates import flops
from selfie.runs.estimates.amounts import Work
from selfie.runs.estimates.data import EVALUATION, HELDOUT, SEED, Case, PairSizes
from selfie.runs.estimates.lengths import Length


def evaluator_pairs(case: Case) -> Sequence[PairSizes]:
    """The pairs that the evaluator is fitted on, as long as the seed's; none where none is fitted."""
    evaluation = case.spec.evaluation
    if evaluation.evaluator != "bradleyTerry" or SEED not in case.data.pairs:
        return ()
    return (replace(case.data.pairs[SEED], rows=evaluation.evaluator_pairs),)


def fitted(case: Case, sampled: Length) -> Work:
    """Embeds the pairs that it is fitted and measured on, and rates the initial model's responses."""
    pairs = [*evaluator_pairs(case), case.data.pairs[HELDOUT]]
    rows = [(2 * group.rows, group.prompt.mean + group.response.mean) for group in pairs]
    initial = _responses(case) if case.spec.evaluation.initial else 0
    return Work(
        pairs=sum(group.rows for group in pairs),
        samples=initial,
        scoring=_embedded(case, [*rows, (initial, _length(case, sampled))]),
        shards=2,
        rows_written=initial,
    )


def rated(case: Case, sampled: Length) -> Work:
    """Rates a round's responses."""
    rows = _responses(case)
    embedded = _embedded(case, [(rows, _length(case, sampled))])
    return Work(samples=rows, scoring=embedded, shards=1, rows_written=rows)


def _embedded(case: Case, rows: Sequence[tuple[float, float]]) -> float:
    return sum(flops.forward(case.policy, count, tokens) for count, tokens in rows)


def _responses(case: Case) -> float:
    return case.data.prompts[EVALUATION].rows * case.spec.evaluation.samples


def _length(case: Case, sampled: Length) -> float:
    return case.data.prompts[EVALUATION].prompt.mean + sampled.mean
