"""The engine on a tiny model against a plain float64 computation of the same scores."""

import copy
from itertools import combinations
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel

from selfie.errors import FailedPrecondition
from selfie.models.loading import load_policy
from selfie.scoring.engine import Checkpoint, PreferenceEngine
from selfie.scoring.precision import Machine, error_bound
from selfie.scoring.prompts import PromptCache
from selfie.scoring.rewards import RewardRule
from selfie.scoring.rows import Row, RowScore, Wanted

LAMBDAS = (0.25, 1.0)
WANTED = Wanted(LAMBDAS, divergence=True)


@pytest.fixture(scope="module")
def reference(tiny_checkpoint: Path) -> PreTrainedModel:
    return load_policy(tiny_checkpoint)


@pytest.fixture(scope="module")
def policy(reference: PreTrainedModel) -> PreTrainedModel:
    return perturbed(reference, 0.05)


@pytest.fixture(scope="module")
def engine(policy: PreTrainedModel, reference: PreTrainedModel) -> PreferenceEngine:
    return PreferenceEngine(Checkpoint(policy, "a" * 64), Checkpoint(reference, "b" * 64), token_budget=100)


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    generator = torch.Generator().manual_seed(5)
    lengths = [(1, 1), (9, 30), (30, 9), (40, 200), (3, 3), (17, 60), (250, 150)]
    return [Row(ids(prompt, generator), ids(response, generator)) for prompt, response in lengths]


def ids(count: int, generator: torch.Generator) -> tuple[int, ...]:
    return tuple(torch.randint(3, 300, (count,), generator=generator).tolist())


def perturbed(model: PreTrainedModel, strength: float) -> PreTrainedModel:
    """A policy not far from the model: its weights with some noise."""
    other = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for parameter in other.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(noise * strength * parameter.abs().mean())
    return other


def plain_logprobs(model: PreTrainedModel, row: Row) -> torch.Tensor:
    """Log-probabilities of the whole vocabulary at each response token, in float64: [tokens, vocabulary]."""
    with torch.no_grad():
        logits = copy.deepcopy(model).double()(torch.tensor([row.prompt_ids + row.response_ids])).logits[0]
    return logits[len(row.prompt_ids) - 1 : -1].log_softmax(-1)


def test_every_sum_is_within_the_stated_bound_of_float64(
    engine: PreferenceEngine, policy: PreTrainedModel, reference: PreTrainedModel, rows: list[Row]
):
    for row, score in zip(rows, engine.score(rows, WANTED), strict=True):
        ours, theirs = plain_logprobs(policy, row), plain_logprobs(reference, row)
        targets = torch.tensor(row.response_ids)[:, None]
        bound = error_bound(score.tokens)
        assert abs(score.policy_logprob - ours.gather(1, targets).sum()) < bound
        assert abs(score.reference_logprob - theirs.gather(1, targets).sum()) < bound
        for index, lam in enumerate(LAMBDAS):
            mixed = ((1 + lam) * ours - lam * theirs).log_softmax(-1).gather(1, targets).sum()
            error = abs(score.extrapolated_logprob(index, lam) - mixed)
            assert error < error_bound(score.tokens, lam=lam)
        expected = (ours.exp() * (ours - theirs)).sum(-1).mean().item()
        assert score.divergence == pytest.approx(expected, abs=1e-6)


def test_rounded_products_keep_every_sum_within_the_bound_that_they_state(
    policy: PreTrainedModel, reference: PreTrainedModel, engine: PreferenceEngine, rows: list[Row]
):
    rounding = PreferenceEngine(
        Checkpoint(policy, "a" * 64), Checkpoint(reference, "b" * 64), machine=Machine(bfloat16=True)
    )
    exact, fast = engine.score(rows, Wanted()), rounding.score(rows, Wanted(mode="fast"))
    assert [score.arithmetic for score in fast] == [rounding.arithmetic("fast")] * len(rows)
    assert rounding.arithmetic("fast").products == "bfloat16"
    errors = [abs(a.policy_logprob - b.policy_logprob) for a, b in zip(exact, fast, strict=True)]
    assert all(
        error < error_bound(row.tokens, products="bfloat16") for error, row in zip(errors, exact, strict=True)
    )
    assert max(errors) > error_bound(200)
    tokens = rounding.policy_tokens(rows, "fast")
    for one, score in zip(tokens, fast, strict=True):
        assert one.sum() == pytest.approx(
            score.policy_logprob, abs=2 * score.arithmetic.error_bound(len(one))
        )


def test_exact_is_the_same_to_the_last_bit_beside_other_modes(
    policy: PreTrainedModel, reference: PreTrainedModel, rows: list[Row]
):
    engine = PreferenceEngine(
        Checkpoint(policy, "a" * 64), Checkpoint(reference, "b" * 64), machine=Machine(bfloat16=True)
    )
    before = engine.score(rows, Wanted())
    engine.score(rows, Wanted(mode="fast"))
    after = engine.score(rows, Wanted())
    assert [a.policy_logprob for a in before] == [b.policy_logprob for b in after]
    assert [a.reference_logprob for a in before] == [b.reference_logprob for b in after]


def test_a_prompt_that_is_asked_about_again_is_not_computed_again(
    policy: PreTrainedModel, reference: PreTrainedModel, engine: PreferenceEngine, rows: list[Row]
):
    seen: list[int] = []
    counted = copy.deepcopy(reference)
    counted.get_input_embeddings().register_forward_hook(lambda _m, ids, _out: seen.append(len(ids[0])))
    keeping = PreferenceEngine(
        Checkpoint(policy, "a" * 64), Checkpoint(counted, "b" * 64), prompts=PromptCache(1 << 24)
    )
    siblings = [Row(rows[6].prompt_ids, row.response_ids) for row in rows[:4]]
    wanted = Wanted(LAMBDAS, divergence=True, keep_prompts=True)
    expected = engine.score(siblings, WANTED)
    seen.clear()
    first, second = keeping.score(siblings[:2], wanted), keeping.score(siblings, wanted)
    assert seen == [250 + 0 + 29, 0 + 29 + 8 + 199]
    for found in (first, second):
        for one, other in zip(found, expected, strict=False):
            bound = 2 * error_bound(one.tokens)
            assert one.policy_logprob == pytest.approx(other.policy_logprob, abs=bound)
            assert one.reference_logprob == pytest.approx(other.reference_logprob, abs=bound)
            assert one.log_z == pytest.approx(other.log_z, abs=2 * bound)


def test_each_token_is_scored_at_its_own_place(
    engine: PreferenceEngine, policy: PreTrainedModel, rows: list[Row]
):
    for row, score in zip(rows, engine.score(rows, Wanted()), strict=True):
        expected = plain_logprobs(policy, row).gather(1, torch.tensor(row.response_ids)[:, None])[:, 0]
        torch.testing.assert_close(torch.from_numpy(score.policy_tokens), expected, rtol=0, atol=1e-4)


def test_company_in_a_batch_changes_no_score_beyond_the_bound(engine: PreferenceEngine, rows: list[Row]):
    together = engine.score(rows, WANTED)
    alone = [engine.score([row], WANTED)[0] for row in rows]
    turned = engine.score(rows[::-1], WANTED)[::-1]
    for other in (alone, turned):
        for one, two in zip(together, other, strict=True):
            assert one.policy_logprob == pytest.approx(two.policy_logprob, abs=2 * error_bound(one.tokens))
            assert one.log_z == pytest.approx(two.log_z, abs=4 * error_bound(one.tokens))


def test_no_order_outside_the_tie_band_depends_on_company_place_or_sharing(
    policy: PreTrainedModel, reference: PreTrainedModel
):
    generator = torch.Generator().manual_seed(9)
    prompts = [ids(20, generator) for _ in range(3)]
    rows = [Row(prompts[n % 3], ids(1 + n, generator)) for n in range(24)]
    checkpoints = Checkpoint(policy, "a" * 64), Checkpoint(reference, "b" * 64)
    engines = [PreferenceEngine(*checkpoints, token_budget=budget) for budget in (1, 60, 10_000)]
    orders = [list(range(24)), torch.randperm(24, generator=generator).tolist()]
    rule = RewardRule()
    found = []
    for engine in engines:
        for order in orders:
            scores = engine.score([rows[n] for n in order], Wanted())
            sums = [(score.policy_logprob, score.reference_logprob, score.tokens) for score in scores]
            found.append({n: rule.reward(*each) for n, each in zip(order, sums, strict=True)})
    compared = 0
    for one, other in combinations(range(24), 2):
        margins = [rewards[one] - rewards[other] for rewards in found]
        if abs(margins[0]) > rule.tie_band([rows[one].tokens - 20, rows[other].tokens - 20]):
            compared += 1
            assert len({margin > 0 for margin in margins}) == 1
    assert compared > 200


def test_equal_rows_get_one_score(engine: PreferenceEngine, rows: list[Row]):
    first, second, third = engine.score([rows[0], rows[1], rows[0]], WANTED)
    assert first is third
    assert first is not second


def test_responses_to_one_prompt_share_its_computation(engine: PreferenceEngine, rows: list[Row]):
    assert engine.shares_prompts
    siblings = [Row(rows[1].prompt_ids, row.response_ids) for row in rows[:3]]
    assert engine.batches(siblings) == [[0, 1, 2]]
    for row, score in zip(siblings, engine.score(siblings, WANTED), strict=True):
        (alone,) = engine.score([row], WANTED)
        assert score.policy_logprob == pytest.approx(alone.policy_logprob, abs=error_bound(score.tokens))


def test_the_same_weights_give_no_reward_and_run_once(reference: PreTrainedModel, rows: list[Row]):
    runs: list[int] = []
    counted = copy.deepcopy(reference)
    counted.get_input_embeddings().register_forward_hook(lambda *_: runs.append(1))
    same = PreferenceEngine(Checkpoint(counted, "a" * 64), Checkpoint(counted, "a" * 64))
    runs.clear()
    (score,) = same.score(rows[:1], WANTED)
    assert len(runs) == 1
    assert score.policy_logprob == score.reference_logprob
    assert score.log_z == (0.0, 0.0)
    assert score.extrapolated_logprob(1, 1.0) == score.policy_logprob
    assert score.divergence == 0.0


def test_a_half_precision_model_is_refused(reference: PreTrainedModel):
    half = copy.deepcopy(reference).bfloat16()
    with pytest.raises(FailedPrecondition, match="float32") as caught:
        PreferenceEngine(Checkpoint(half, "a" * 64), Checkpoint(reference, "b" * 64))
    assert caught.value.reason == "ReducedPrecision"


def test_models_of_two_attention_kernels_are_refused(tiny_checkpoint: Path, reference: PreTrainedModel):
    eager = load_policy(tiny_checkpoint, attention="eager")
    with pytest.raises(FailedPrecondition) as caught:
        PreferenceEngine(Checkpoint(eager, "a" * 64), Checkpoint(reference, "b" * 64))
    assert caught.value.reason == "AttentionMismatch"


def test_models_of_two_vocabularies_are_refused(reference: PreTrainedModel):
    larger = copy.deepcopy(reference)
    larger.resize_token_embeddings(len(Checkpoint(reference, "").head.weight) + 8, mean_resizing=False)
    with pytest.raises(FailedPrecondition) as caught:
        PreferenceEngine(Checkpoint(larger, "a" * 64), Checkpoint(reference, "b" * 64))
    assert caught.value.reason == "VocabularyMismatch"


class Doubled(nn.Linear):
    """A head that no configuration tells of."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(hidden)


def test_a_head_that_does_something_unknown_is_refused(reference: PreTrainedModel):
    strange = copy.deepcopy(reference)
    head = Doubled(strange.lm_head.in_features, strange.lm_head.out_features, bias=False)
    head.weight = strange.lm_head.weight
    strange.lm_head = head
    with pytest.raises(FailedPrecondition) as caught:
        PreferenceEngine(Checkpoint(strange, "a" * 64), Checkpoint(reference, "b" * 64))
    assert caught.value.reason == "UnsupportedHead"


def test_weights_that_overflow_are_told_apart_from_bad_responses(reference: PreTrainedModel, rows: list[Row]):
    broken = copy.deepcopy(reference)
    engine = PreferenceEngine(Checkpoint(broken, "a" * 64), Checkpoint(reference, "b" * 64))
    with torch.no_grad():
        broken.base_model.norm.weight.fill_(torch.inf)
    with pytest.raises(FailedPrecondition) as caught:
        engine.score(rows[:1], Wanted())
    assert caught.value.reason == "NonFiniteScores"


def test_a_score_sums_its_tokens():
    score = RowScore(
        *(torch.tensor(v, dtype=torch.float64).numpy() for v in ([-1.0, -2.0], [-1.5, -2.5])), (0.25,)
    )
    assert (score.tokens, score.policy_logprob, score.reference_logprob) == (2, -3.0, -4.0)
    assert score.extrapolated_logprob(0, 0.5) == pytest.approx(1.5 * -3.0 - 0.5 * -4.0 - 0.25)
