"""One shard of responses through the scorer, batch by batch.

The same responses in the same shard are scored in the same batches, whoever asks for it and when: so
their scores are the same to the last bit.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain

import numpy as np

from selfie.errors import FailedPrecondition
from selfie.scoring import metrics
from selfie.scoring.core import Scorer
from selfie.scoring.judged import Fields, scored_row
from selfie.scoring.known import row_key
from selfie.scoring.pieces import compute_in_pieces
from selfie.scoring.precision import AUTO, EXACT, Mode
from selfie.scoring.questions import check_row
from selfie.scoring.rows import PolicyScore, Row, RowScore, Wanted
from selfie.scoring.tasks import Task
from selfie.scoring.uncertain import uncertain
from selfie.scoring.worker import Worker

Tell = Callable[[float], None]
"""Is told which share of a shard is done, after each batch; may raise to stop."""


class ShardScorer:
    """Scores shards of one task; ``known`` are summed reference log-probabilities by `row_key`."""

    def __init__(self, task: Task, scorer: Scorer, worker: Worker, known: Mapping[bytes, float]) -> None:
        self._task = task
        self._scorer = scorer
        self._worker = worker
        self._known = known
        self._first = scorer.first_mode(task.precision)

    def scored(self, groups: Sequence[Sequence[Fields]], tell: Tell) -> list[Fields]:
        """The groups' samples with their scores, by SCORED_SCHEMA."""
        samples = list(chain.from_iterable(groups))
        return [
            scored_row(sample, score, self._task.judging, self._scorer.provenance)
            for sample, score in zip(samples, self._surely(samples, groups, tell), strict=True)
        ]

    def _surely(
        self, samples: Sequence[Fields], groups: Sequence[Sequence[Fields]], tell: Tell
    ) -> list[RowScore | PolicyScore]:
        """Scores, under `auto` those again that do not tell a group's responses apart."""
        rows = [self._checked(sample) for sample in samples]
        scores = self._score(rows, self._first, tell)
        if self._task.precision != AUTO or self._first == EXACT:
            return scores
        again: list[int] = []
        start = 0
        for group in groups:
            found = uncertain(scores[start : start + len(group)], self._task.judging.rule)
            metrics.RESCORED.inc(found.pairs)
            again += (start + index for index in sorted(found.responses))
            start += len(group)
        exactly = self._score([rows[index] for index in again], EXACT, lambda _: tell(1.0))
        for index, score in zip(again, exactly, strict=True):
            scores[index] = score
        return scores

    def _score(self, rows: Sequence[Row], mode: Mode, tell: Tell) -> list[RowScore | PolicyScore]:
        wanted = Wanted((self._task.judging.lam,), self._task.divergence, mode)
        scores: list[RowScore | PolicyScore] = [_unscored(wanted)] * len(rows)
        present = [index for index, row in enumerate(rows) if row.response_ids]
        computed = 0
        for batch in self._scorer.engine.batches([rows[index] for index in present]):
            indices = [present[place] for place in batch]
            chosen = [rows[index] for index in indices]
            found = compute_in_pieces(self._worker, chosen, partial(self._compute, wanted))
            for index, score in zip(indices, found, strict=True):
                scores[index] = score
            computed += len(indices)
            tell(computed / len(rows))
        return scores

    def _compute(self, wanted: Wanted, rows: Sequence[Row]) -> Sequence[RowScore | PolicyScore]:
        engine = self._scorer.engine
        known = [self._known.get(row_key(row)) for row in rows]
        sums = [value for value in known if value is not None]
        if len(sums) < len(rows):
            return engine.score(rows, wanted)
        tokens, arithmetic = engine.policy_tokens(rows, wanted.mode), engine.arithmetic(wanted.mode)
        return [
            PolicyScore(own, reference, arithmetic=arithmetic)
            for own, reference in zip(tokens, sums, strict=True)
        ]

    def _checked(self, sample: Fields) -> Row:
        name, policy = f"{self._task.group}[{sample['prompt_id']}]", self._task.policy_digest
        row = Row(tuple(sample["prompt_ids"]), tuple(sample["response_ids"]))
        check_row(name, row, self._scorer.engine)
        if (sampler := sample.get("policy_digest", policy)) != policy:
            raise FailedPrecondition(
                "SampledByOtherWeights",
                f"{name} was sampled by {sampler[:12]}, but {policy[:12]} is to judge; "
                "a policy judges its own responses",
            )
        return row


def _unscored(wanted: Wanted) -> RowScore:
    """The score of a response of no token at all."""
    nothing = np.zeros(0)
    return RowScore(nothing, nothing, (0.0,) * len(wanted.lambdas), 0.0 if wanted.divergence else None)
