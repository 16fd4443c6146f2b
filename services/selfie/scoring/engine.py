"""Policy and reference, resident in one process, and the batches that run through them.

Only the backbones see prompts. The heads are applied to the positions that predict response tokens
(position t - 1 predicts token t, so the prompt's last one predicts the first), tile by tile.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from selfie.errors import FailedPrecondition
from selfie.scoring.adapters import Adapter
from selfie.scoring.backbones import Lane, backbone_for
from selfie.scoring.head import Head, Projected, TokenScores, score_tokens, score_tokens_alone
from selfie.scoring.machines import machine_of, reduced
from selfie.scoring.precision import EXACT, Arithmetic, Machine, Mode, Products, arithmetic_of
from selfie.scoring.prompts import PromptCache
from selfie.scoring.rows import Floats, Row, RowScore, Wanted

PROBE_TOKENS = 8


@dataclass(frozen=True)
class Checkpoint:
    """A causal language model in memory, an ``adapter`` on it or none, and the digest of their files."""

    model: PreTrainedModel
    digest: str
    adapter: Adapter | None = None

    @property
    def lane(self) -> Lane:
        """How the backbone knows it."""
        return Lane(self.model, self.digest, self.adapter)

    @cached_property
    def head(self) -> Head:
        """Its language-model head; FailedPrecondition if the model adds to it what `Head` does not know."""
        head = Head.of(self.model)
        with torch.no_grad():
            probe = torch.arange(PROBE_TOKENS, device=head.weight.device)[None] % len(head.weight)
            expected = self.model(input_ids=probe, use_cache=False).logits[0]
            hidden = self.model.base_model(input_ids=probe, use_cache=False).last_hidden_state[0]
            actual = head.logits(hidden, slice(None), out=torch.empty_like(expected))
        if not torch.allclose(actual, expected, rtol=1e-3, atol=1e-3):
            raise FailedPrecondition(
                "UnsupportedHead",
                f"{type(self.model).__name__} does more to its logits than weight, bias, scale and soft cap; "
                "teach selfie.scoring.head what it does",
            )
        return head

    @cached_property
    def rounded_head(self) -> Head:
        """The same in products of bfloat16."""
        return self.head.rounded()


class PreferenceEngine:
    """Scores rows by a policy against a reference; used by one thread at a time.

    ``token_budget`` bounds the tokens of a batch; a longer row runs alone. ``prompts`` keeps those of online
    calls, and may serve several engines of that thread. ``machine`` is what the device can do, where that
    is not to be found out.
    """

    def __init__(
        self,
        policy: Checkpoint,
        reference: Checkpoint,
        *,
        token_budget: int = 2048,
        prompts: PromptCache | None = None,
        machine: Machine | None = None,
    ) -> None:
        _refuse_reduced_precision(policy.model, reference.model)
        _refuse_unlike(policy, reference)
        self._policy = policy
        self._reference = reference
        self._token_budget = token_budget
        self._device = policy.head.weight.device
        self._backbone = backbone_for([policy.lane, reference.lane], prompts)
        self._machine = machine or machine_of(self._device)

    @property
    def policy_digest(self) -> str:
        return self._policy.digest

    @property
    def reference_digest(self) -> str:
        return self._reference.digest

    @property
    def vocabulary(self) -> int:
        """Tokens that either model knows."""
        return len(self._policy.head.weight)

    @property
    def max_tokens(self) -> int:
        """Longest prompt and response together that both models have positions for."""
        configs = [c.model.config.get_text_config() for c in (self._policy, self._reference)]
        return min(int(config.max_position_embeddings) for config in configs)

    @property
    def shares_prompts(self) -> bool:
        """Whether a prompt is computed once for all its responses."""
        return self._backbone.shares_prompts

    def arithmetic(self, mode: Mode) -> Arithmetic:
        """What a mode comes to here; rows that are computed whole are always in float32."""
        return arithmetic_of(mode, self._machine if self.shares_prompts else Machine())

    def batches(self, rows: Sequence[Row]) -> list[list[int]]:
        """Indices of the rows in batches that are computed at once, within the token budget."""
        return self._backbone.batches(rows, self._token_budget)

    def score(self, rows: Sequence[Row], wanted: Wanted) -> list[RowScore]:
        """Scores in the order of the rows; identical rows are computed once."""
        distinct = list(dict.fromkeys(rows))
        scores: dict[Row, RowScore] = {}
        for batch in self.batches(distinct):
            chosen = [distinct[index] for index in batch]
            scores.update(zip(chosen, self._score_batch(chosen, wanted), strict=True))
        return [scores[row] for row in rows]

    @torch.no_grad()
    def policy_tokens(self, rows: Sequence[Row], mode: Mode = EXACT) -> list[Floats]:
        """Log-probabilities of each row's response tokens under the policy alone, of one batch."""
        distinct, products = list(dict.fromkeys(rows)), self.arithmetic(mode).products
        (policy,) = self._project(distinct, (self._policy,), products)
        with reduced(products, self._device):
            logprobs = score_tokens_alone(policy, self._targets(distinct))
        parts = torch.split(logprobs, [len(row.response_ids) for row in distinct])
        found = {row: _finite(part) for row, part in zip(distinct, parts, strict=True)}
        return [found[row] for row in rows]

    @torch.no_grad()
    def _score_batch(self, rows: Sequence[Row], wanted: Wanted) -> Iterator[RowScore]:
        targets, arithmetic = self._targets(rows), self.arithmetic(wanted.mode)
        same = self.policy_digest == self.reference_digest
        checkpoints = (self._policy,) if same else (self._policy, self._reference)
        projected = self._project(rows, checkpoints, arithmetic.products, keep=wanted.keep_prompts)
        with reduced(arithmetic.products, self._device):
            if same:
                scores = _undiverged(score_tokens_alone(projected[0], targets), wanted)
            else:
                policy, reference = projected
                scores = score_tokens(
                    policy, reference, targets, lambdas=wanted.lambdas, divergence=wanted.divergence
                )
        return (replace(score, arithmetic=arithmetic) for score in _by_row(rows, scores))

    def _targets(self, rows: Sequence[Row]) -> Tensor:
        return torch.tensor([token for row in rows for token in row.response_ids], device=self._device)

    def _project(
        self,
        rows: Sequence[Row],
        checkpoints: Sequence[Checkpoint],
        products: Products,
        *,
        keep: bool = False,
    ) -> list[Projected]:
        lanes = [checkpoint.lane for checkpoint in checkpoints]
        rounded = products == "bfloat16"
        # Where products are rounded, their factors are bfloat16 already.
        with reduced("float32" if rounded else products, self._device):
            states = self._backbone.states(lanes, rows, products=products, keep_prompts=keep)
        return [
            Projected(c.rounded_head if rounded else c.head, hidden)
            for c, hidden in zip(checkpoints, states, strict=True)
        ]


def _refuse_reduced_precision(*models: PreTrainedModel) -> None:
    if torch.get_float32_matmul_precision() != "highest":
        message = "float32 products are reduced in this process; set their precision to `highest`"
        raise FailedPrecondition("ReducedPrecision", message)
    for model in models:
        if model.dtype != torch.float32:
            message = f"a model is in {model.dtype}, whose error exceeds the margins; load it in float32"
            raise FailedPrecondition("ReducedPrecision", message)


def _refuse_unlike(policy: Checkpoint, reference: Checkpoint) -> None:
    sizes = len(policy.head.weight), len(reference.head.weight)
    if sizes[0] != sizes[1]:
        raise FailedPrecondition(
            "VocabularyMismatch",
            f"policy has {sizes[0]} tokens, reference {sizes[1]}; give a reference of the same vocabulary",
        )
    kernels = [c.model.config._attn_implementation for c in (policy, reference)]
    if kernels[0] != kernels[1]:
        raise FailedPrecondition(
            "AttentionMismatch",
            f"policy runs {kernels[0]} attention, reference {kernels[1]}; load both with one",
        )


def _undiverged(logprobs: Tensor, wanted: Wanted) -> TokenScores:
    """Scores where policy and reference are the same weights: no reward, no divergence."""
    nothing = torch.zeros_like(logprobs)
    log_z = nothing.expand(len(wanted.lambdas), -1)
    return TokenScores(logprobs, logprobs, log_z, nothing if wanted.divergence else None)


def _by_row(rows: Sequence[Row], scores: TokenScores) -> Iterator[RowScore]:
    start = 0
    for row in rows:
        span = slice(start, start + len(row.response_ids))
        start = span.stop
        yield RowScore(
            policy_tokens=_finite(scores.policy[span]),
            reference_tokens=_finite(scores.reference[span]),
            log_z=tuple(_finite(scores.log_z[:, span]).sum(axis=1).tolist()),
            divergence=None if scores.divergence is None else float(_finite(scores.divergence[span]).mean()),
        )


def _finite(values: Tensor) -> Floats:
    array: Floats = values.cpu().numpy()
    if not np.isfinite(array).all():
        raise FailedPrecondition("NonFiniteScores", "a score is not a finite number; the weights overflow")
    return array
