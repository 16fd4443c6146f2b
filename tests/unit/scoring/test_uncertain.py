"""`auto`: which responses are scored again, and that its labels are those of `exact`."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from selfie.models.chat import ChatTokenizer
from selfie.scoring.core import Scorer
from selfie.scoring.precision import Machine, error_bound
from selfie.scoring.questions import Options, Prompt, Response
from selfie.scoring.rewards import RewardRule
from selfie.scoring.rows import Row

PROMPT = Prompt(ids=(1, 2, 3))
RESPONSES = st.lists(
    st.lists(st.integers(0, 300), min_size=1, max_size=4).map(lambda ids: Response(ids=tuple(ids))),
    min_size=2,
    max_size=7,
)
RULES = st.builds(
    RewardRule,
    normalization=st.sampled_from(["sum", "mean"]),
    without_reference=st.booleans(),
)


@pytest.fixture
def scorer(engine, tiny_checkpoint: Path) -> Scorer:
    engine.machine = Machine(bfloat16=True)
    return Scorer(engine, ChatTokenizer(tiny_checkpoint))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(RESPONSES, RULES, st.sampled_from([0.0, 0.01, 0.1, 0.3]), st.randoms(use_true_random=False))
def test_orders_and_ties_are_those_of_exact_whatever_the_errors_within_the_bound(
    scorer: Scorer, engine, responses, rule, tie_margin, random
):
    errors: dict[Row, float] = {}

    def error(row: Row) -> float:
        bound = error_bound(len(row.response_ids), products="bfloat16")
        return errors.setdefault(row, random.choice([-bound, bound, random.uniform(-bound, bound)]))

    engine.error = error
    exact = scorer.rank(PROMPT, responses, Options(rule, tie_margin=tie_margin))
    auto = scorer.rank(PROMPT, responses, Options(rule, tie_margin=tie_margin, precision="auto"))
    ranks = [sorted((one.index, one.rank) for one in found.responses) for found in (exact, auto)]
    assert ranks[0] == ranks[1]
    assert auto.tie_band == exact.tie_band
    first, second = responses[:2]
    labels = [
        (found.tie, found.tie or found.margin > 0)
        for precision in ("exact", "auto")
        for found in [
            scorer.compare(PROMPT, first, second, Options(rule, tie_margin=tie_margin, precision=precision))
        ]
    ]
    assert labels[0] == labels[1]


def test_only_pairs_that_fast_cannot_tell_apart_are_scored_again(scorer: Scorer, engine):
    far, near, nearer = (Response(ids=ids) for ids in ((999, 999, 999), (10,), (11,)))
    found = scorer.rank(PROMPT, [far, near, nearer], Options(precision="auto"))
    assert [[row.response_ids for row in call] for call in engine.calls] == [
        [(999, 999, 999), (10,), (11,)],
        [(10,), (11,)],
    ]
    assert found.rescored_pairs == 1
    assert {one.index: one.score.precision for one in found.responses} == {0: "fast", 1: "exact", 2: "exact"}
    assert {one.index: one.score.error_bound for one in found.responses} == {
        0: error_bound(3, products="bfloat16"),
        1: error_bound(1),
        2: error_bound(1),
    }


def test_a_pair_that_is_told_apart_stands_as_fast_scored_it_and_outside_its_band(scorer: Scorer, engine):
    found = scorer.compare(PROMPT, Response(ids=(999,) * 3), Response(ids=(5,)), Options(precision="auto"))
    assert len(engine.calls) == 1
    assert (found.rescored_pairs, found.first.precision, found.tie) == (0, "fast", False)
    rule = RewardRule()
    assert found.tie_band == rule.bound(3, "bfloat16") + rule.bound(1, "bfloat16")


def test_where_nothing_is_faster_auto_is_exact_from_the_start(scorer: Scorer, engine):
    engine.machine = Machine()
    found = scorer.compare(PROMPT, Response(ids=(5,)), Response(ids=(6,)), Options(precision="auto"))
    assert len(engine.calls) == 1
    assert (found.rescored_pairs, found.first.precision) == (0, "exact")


def test_the_band_of_a_mode_is_never_below_its_bound(scorer: Scorer):
    pair = Response(ids=(5, 6)), Response(ids=(7,))
    for mode, products in (("exact", "float32"), ("balanced", "float32"), ("fast", "bfloat16")):
        found = scorer.compare(PROMPT, *pair, Options(precision=mode))
        bounds = [error_bound(tokens, products=products) for tokens in (2, 1)]
        assert found.tie_band == pytest.approx(0.2 * sum(bounds))
        assert [found.first.error_bound, found.second.error_bound] == bounds


def test_a_call_that_asks_for_no_mode_has_the_scorers(engine, tiny_checkpoint: Path):
    engine.machine = Machine(bfloat16=True)
    fast = Scorer(engine, ChatTokenizer(tiny_checkpoint), precision="fast")
    pair = Response(ids=(5,)), Response(ids=(6,))
    assert fast.compare(PROMPT, *pair, Options()).first.precision == "fast"
    assert fast.compare(PROMPT, *pair, Options(precision="exact")).first.precision == "exact"
