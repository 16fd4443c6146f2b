"""Ratings of responses: an oracle's, or those that an evaluator has published."""

import math

import pyarrow as pa
import pytest

from selfie.artifacts.rows import RATING_SCHEMA, SCORED_SCHEMA
from selfie.report.gather import gather
from selfie.report.ratings import rate
from selfie.report.reading import read_baselines
from selfie.report.tables import tables_of
from selfie.runs.status import RunStatus


@pytest.fixture
def responses(response_of) -> pa.Table:
    """Two samples of each of two prompts."""
    rows = [
        {**response_of(prompt, f"{prompt} {index}"), "sample_index": index}
        for prompt in ("a", "b")
        for index in (0, 1)
    ]
    return pa.Table.from_pylist(rows, schema=SCORED_SCHEMA)


def ratings(*values: tuple[str, int, float]) -> pa.Table:
    rows = [
        {"prompt_id": prompt, "sample_index": index, "rating": value, "evaluator_digest": "d"}
        for prompt, index, value in values
    ]
    return pa.Table.from_pylist(rows, schema=RATING_SCHEMA)


def test_a_published_rating_finds_its_response_whatever_the_order(responses):
    published = ratings(("b", 1, 4.0), ("a", 0, 1.0), ("b", 0, 3.0), ("a", 1, 2.0))
    found = rate("bradleyTerry", responses, published)
    values = {(prompt, index): each.rating for (prompt, _, index), each in found.items()}
    assert values == {("a", 0): 1.0, ("a", 1): 2.0, ("b", 0): 3.0, ("b", 1): 4.0}
    assert {each.tokens for each in found.values()} == {1}


def test_what_has_no_rating_or_none_that_is_a_number_is_left_out(responses):
    found = rate("bradleyTerry", responses, ratings(("a", 0, 1.0), ("a", 1, math.nan), ("c", 0, 2.0)))
    assert [(prompt, index) for prompt, _, index in found] == [("a", 0)]


def test_without_ratings_an_evaluator_that_is_fitted_rates_nothing(responses):
    assert rate("bradleyTerry", responses) == {}
    assert rate("bradleyTerry", None, ratings()) == {}


def test_an_oracle_reads_the_text_itself(responses):
    assert rate("readingEase", responses, ratings(("a", 0, 1.0))) == rate("readingEase", responses)


def test_the_initial_models_and_the_seeds_responses_are_baselines_as_they_were_rated(toy):
    toy.responses(0, ["One.", "Two."])
    toy.initial(["Three.", "Four."])
    toy.fitted([-1.0, -2.0])
    toy.rated(0, [1.0, 2.0])
    found = read_baselines(toy.store, "bradleyTerry")
    assert {name: [each.rating for each in rated.values()] for name, rated in found.items()} == {
        "seed": [1.0, 2.0],
        "initial": [-1.0, -2.0],
    }


def test_a_baseline_that_is_not_rated_yet_is_none(toy):
    toy.responses(0, ["One."])
    toy.initial(["Three."])
    toy.fitted([-1.0])
    assert set(read_baselines(toy.store, "bradleyTerry")) == {"initial"}


def test_the_table_of_responses_says_what_its_evaluator_is_worth(toy, run_of):
    toy.responses(0, ["One."] * 10)
    toy.fitted([0.0] * 10)
    toy.rated(0, [1.0] * 10)
    found = gather(toy.store, run_of(evaluator="bradleyTerry"), RunStatus())
    (table,) = [each for each in tables_of(found) if each.title.startswith("Responses to prompts")]
    assert (
        "agrees with people on 63.0 % [60, 66] of 1000 held-out pairs; prefer the longer: 60.0 %"
        in table.note
    )
    assert ("evaluator's mean", ["1.00 [1.00, 1.00]"]) in [(label, cells) for label, _, cells in table.rows]
