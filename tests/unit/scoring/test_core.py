"""Score, Compare and Rank without transport: what they answer, and what they refuse by which name."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from selfie.errors import InvalidInput
from selfie.models.chat import ChatTokenizer
from selfie.scoring.calibrations import Calibration
from selfie.scoring.core import Scorer
from selfie.scoring.precision import error_bound
from selfie.scoring.questions import Options, Prompt, Response, Truncation
from selfie.scoring.rewards import RewardRule

PROMPT = Prompt(ids=(1, 2, 3))
responses = st.lists(st.integers(0, 999), min_size=1, max_size=30).map(lambda ids: Response(ids=tuple(ids)))
per_example = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def tokenizer(tiny_checkpoint: Path) -> ChatTokenizer:
    return ChatTokenizer(tiny_checkpoint)


@pytest.fixture
def scorer(engine, tokenizer: ChatTokenizer) -> Scorer:
    return Scorer(engine, tokenizer)


def test_a_response_is_scored_by_its_sums(scorer: Scorer):
    (found,) = scorer.score(
        PROMPT, [Response(ids=(10, 20))], Options(RewardRule(beta=0.5), lambdas=(0.0, 0.5))
    )
    assert found.policy_logprob == pytest.approx(-0.3)
    assert found.reference_logprob == pytest.approx(-0.6)
    assert found.reward == pytest.approx(0.15)
    assert (found.tokens, found.error_bound) == (2, error_bound(2))
    assert [e.lam for e in found.extrapolated] == [0.0, 0.5]
    assert found.extrapolated[0].logprob == pytest.approx(-0.3)
    assert found.extrapolated[1].logprob == pytest.approx(1.5 * -0.3 - 0.5 * -0.6 - 0.001)
    assert [e.error_bound for e in found.extrapolated] == [error_bound(2), error_bound(2, lam=0.5)]
    assert found.extrapolated[1].reward == pytest.approx(0.5 * (-0.15 - 0.001 + 0.6))
    np.testing.assert_allclose(found.policy_tokens, [-0.1, -0.2])
    np.testing.assert_allclose(found.reference_tokens, [-0.2, -0.4])


def test_a_mean_reward_is_that_of_a_token(scorer: Scorer):
    (found,) = scorer.score(PROMPT, [Response(ids=(10, 20))], Options(RewardRule(normalization="mean")))
    assert found.reward == pytest.approx(0.1 * 0.15)
    assert found.policy_logprob == pytest.approx(-0.3)


def test_a_text_is_scored_with_its_end_of_turn_and_a_chat_with_the_policys_template(
    scorer: Scorer, engine, tokenizer: ChatTokenizer
):
    prompt = Prompt(messages=(("user", "Hi"),))
    scorer.score(prompt, [Response(text="Yes"), Response(ids=(5,))], Options())
    text, ids = engine.calls[0]
    assert text.prompt_ids == tokenizer.prompt_ids([{"role": "user", "content": "Hi"}]).ids
    assert text.response_ids == tokenizer.response_ids("Yes")
    assert text.response_ids[-1] == tokenizer.end_of_turn_id
    assert ids.response_ids == (5,)


@pytest.mark.parametrize(
    ("prompt", "response", "field"),
    [
        (Prompt(), Response(text="a"), "prompt"),
        (Prompt(messages=(("user", "a"),), ids=(1,)), Response(text="a"), "prompt"),
        (PROMPT, Response(), "responses[1]"),
        (PROMPT, Response(text="a", ids=(1,)), "responses[1]"),
        (PROMPT, Response(ids=(1000,)), "responses[1]"),
        (PROMPT, Response(ids=(-1,)), "responses[1]"),
        (Prompt(ids=(1000,)), Response(ids=(1,)), "responses[0]"),
        (PROMPT, Response(ids=(1,) * 38), "responses[1]"),
        (Prompt(messages=(("user", "say <|im_end|>"),)), Response(ids=(1,)), "prompt.messages[0].content"),
        (Prompt(text="say <|im_end|>"), Response(ids=(1,)), "prompt.text"),
        (Prompt(text="a", ids=(1,)), Response(ids=(1,)), "prompt"),
    ],
)
def test_what_cannot_be_scored_is_refused_by_its_field(scorer: Scorer, engine, prompt, response, field):
    with pytest.raises(InvalidInput) as caught:
        scorer.score(prompt, [Response(ids=(1,)), response], Options())
    assert caught.value.field == field
    assert engine.calls == []


def test_a_row_that_just_fits_is_scored_whole(scorer: Scorer):
    (found,) = scorer.score(PROMPT, [Response(ids=(1,) * 37)], Options())
    assert found.tokens == 37


def cut(scorer: Scorer, prompt: int, *lengths: int, truncation: Truncation):
    """Scores of responses so long to a prompt so long, whose ids count from 0."""
    asked = [Response(ids=tuple(range(length))) for length in lengths]
    return scorer.score(Prompt(ids=tuple(range(prompt))), asked, Options(truncation=truncation))


def test_a_prompt_is_cut_at_its_start_and_alike_for_every_response(scorer: Scorer, engine):
    found = cut(scorer, 30, 5, 15, truncation="prompt_start")
    assert [row.prompt_ids for row in engine.calls[0]] == [tuple(range(5, 30))] * 2
    assert [(one.prompt_tokens, one.prompt_cut, one.cut) for one in found] == [(25, 5, 0)] * 2
    assert [one.tokens for one in found] == [5, 15]


def test_a_response_is_cut_at_its_end_and_no_other_is(scorer: Scorer, engine):
    found = cut(scorer, 30, 5, 15, truncation="response_end")
    assert engine.calls[0][1].response_ids == tuple(range(10))
    assert [(one.tokens, one.prompt_cut, one.cut) for one in found] == [(5, 0, 0), (10, 0, 5)]


@pytest.mark.parametrize("truncation", ["prompt_start", "response_end"])
def test_what_fits_is_cut_by_no_policy(scorer: Scorer, truncation: Truncation):
    (found,) = cut(scorer, 20, 20, truncation=truncation)
    assert (found.prompt_tokens, found.tokens, found.prompt_cut, found.cut) == (20, 20, 0, 0)


@pytest.mark.parametrize(
    ("truncation", "prompt", "field"), [("prompt_start", 1, "responses[1]"), ("response_end", 40, "prompt")]
)
def test_what_leaves_no_room_for_the_other_part_is_refused(
    scorer: Scorer, truncation, prompt: int, field: str
):
    with pytest.raises(InvalidInput) as caught:
        cut(scorer, prompt, 1, 40, truncation=truncation)
    assert caught.value.field == field


def test_whether_the_end_of_turn_was_scored_is_said(scorer: Scorer, tokenizer: ChatTokenizer):
    text = tokenizer.response_ids("Yes")
    asked = [Response(text="Yes"), Response(ids=text), Response(ids=text[:-1])]
    assert [one.ended for one in scorer.score(PROMPT, asked, Options())] == [True, True, False]
    long = Response(ids=(*range(40), tokenizer.end_of_turn_id))
    (found,) = scorer.score(PROMPT, [long], Options(truncation="response_end"))
    assert not found.ended


def test_a_text_is_the_one_message_of_a_user(scorer: Scorer, engine):
    scorer.score(Prompt(text="Hi"), [Response(ids=(1,))], Options())
    scorer.score(Prompt(messages=(("user", "Hi"),)), [Response(ids=(1,))], Options())
    assert engine.calls[0] == engine.calls[1]


def test_a_callers_tie_margin_widens_the_band_and_never_narrows_it(scorer: Scorer):
    pair = [Response(ids=(5,)), Response(ids=(6,))]
    compared = scorer.compare(PROMPT, *pair, Options())
    wide = scorer.compare(PROMPT, *pair, Options(tie_margin=1.0))
    narrow = scorer.compare(PROMPT, *pair, Options(tie_margin=1e-12))
    assert (wide.tie, wide.tie_band, wide.margin) == (True, 1.0, compared.margin)
    assert (narrow.tie, narrow.tie_band) == (False, compared.tie_band)
    assert [one.rank for one in scorer.rank(PROMPT, pair, Options(tie_margin=1.0)).responses] == [1, 1]


def test_a_calibration_stands_beside_the_raw_probability(engine, tokenizer: ChatTokenizer):
    fit = Calibration(id="f", pairs=9, slopes={"sum": 1.0, "mean": 2.0})
    calibrated = Scorer(engine, tokenizer, fit)
    pair = [Response(ids=(5, 5)), Response(ids=(60, 60))]
    raw = Scorer(engine, tokenizer).compare(PROMPT, *pair, Options())
    found = calibrated.compare(PROMPT, *pair, Options())
    assert raw.calibrated is None
    assert found.probability == raw.probability
    # A slope of 1 for the bare log-ratio is that of beta 1.
    assert found.calibrated == pytest.approx(
        calibrated.compare(PROMPT, *pair, Options(RewardRule(beta=1.0))).probability
    )
    ranked = calibrated.rank(PROMPT, pair, Options()).responses
    assert ranked[0].calibrated == pytest.approx(max(found.calibrated, 1 - found.calibrated))


@per_example
@given(responses, responses)
def test_comparing_is_antisymmetric(scorer: Scorer, first: Response, second: Response):
    one = scorer.compare(PROMPT, first, second, Options())
    other = scorer.compare(PROMPT, second, first, Options())
    assert one.margin == -other.margin
    assert one.probability == pytest.approx(1 - other.probability)
    assert (one.tie, one.tie_band) == (other.tie, other.tie_band)


def test_a_margin_inside_the_error_of_the_sums_is_a_tie(scorer: Scorer):
    same = scorer.compare(PROMPT, Response(ids=(5,)), Response(ids=(5,)), Options())
    other = scorer.compare(PROMPT, Response(ids=(5,)), Response(ids=(6,)), Options())
    assert same.tie
    assert same.probability == 0.5
    assert not other.tie
    assert other.tie_band == pytest.approx(0.1 * 4 * error_bound(1))


def test_beta_scales_margins_and_bands_and_changes_no_preference(scorer: Scorer):
    first, second = Response(ids=(5, 9)), Response(ids=(6, 1))
    weak, strong = (
        scorer.compare(PROMPT, first, second, Options(RewardRule(beta=beta))) for beta in (0.01, 10.0)
    )
    assert strong.margin == pytest.approx(1000 * weak.margin)
    assert strong.tie_band == pytest.approx(1000 * weak.tie_band)
    assert strong.tie == weak.tie


def test_ranking_is_best_first_and_shares_ranks_within_the_band(scorer: Scorer):
    given_ = [Response(ids=(10,)), Response(ids=(90,)), Response(ids=(50,)), Response(ids=(90,))]
    found = scorer.rank(PROMPT, given_, Options())
    assert [ranked.index for ranked in found.responses] == [1, 3, 2, 0]
    assert [ranked.rank for ranked in found.responses] == [1, 1, 3, 4]
    assert found.tie_band == pytest.approx(0.1 * 4 * error_bound(1))


@per_example
@given(st.lists(responses, min_size=1, max_size=6))
def test_a_ranking_holds_every_response_once_and_its_chances_add_up(scorer: Scorer, given_: list[Response]):
    found = scorer.rank(PROMPT, given_, Options(RewardRule(beta=5.0))).responses
    assert sorted(ranked.index for ranked in found) == list(range(len(given_)))
    assert sum(ranked.best_probability for ranked in found) == pytest.approx(1)
    rewards = [ranked.score.reward for ranked in found]
    assert rewards == sorted(rewards, reverse=True)
    assert found[0].rank == 1
    assert all(low.rank <= high.rank for low, high in pairwise(found))


def test_two_responses_are_ranked_as_they_compare(scorer: Scorer):
    pair = [Response(ids=(10, 11)), Response(ids=(40,))]
    compared = scorer.compare(PROMPT, *pair, Options())
    ranked = scorer.rank(PROMPT, pair, Options())
    assert ranked.tie_band == compared.tie_band
    assert ranked.responses[0].index == (0 if compared.margin > 0 else 1)
    assert ranked.responses[0].best_probability == pytest.approx(
        max(compared.probability, 1 - compared.probability)
    )
