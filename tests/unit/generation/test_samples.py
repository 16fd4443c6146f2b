"""Rows and the numbers that sum them up."""

import pyarrow as pa
import pytest

from selfie.artifacts.rows import PROMPT_SCHEMA, SAMPLE_SCHEMA
from selfie.artifacts.shards import conform
from selfie.generation.engines import EngineIdentity, Sample
from selfie.generation.samples import Tally, sample_table, tally

IDENTITY = EngineIdentity("a" * 64, "b" * 64, 64, "float32", "toy/1")


def prompts(*truncated: bool) -> pa.Table:
    rows = [
        {
            "prompt_id": f"p{place}",
            "messages": [{"role": "user", "content": f"question {place}"}],
            "prompt_ids": [1, 2, place],
            "prompt_digest": f"{place:064d}",
            "truncated": cut,
            "source": None,
        }
        for place, cut in enumerate(truncated)
    ]
    return pa.Table.from_pylist(rows, schema=PROMPT_SCHEMA)


def sample(*ids: int, text: str = "text", reason="stop", seed: int = 0, ids_from="engine") -> Sample:
    return Sample(ids, text, reason, seed, ids_from)


def test_each_prompt_is_repeated_for_its_samples_with_all_that_a_sample_needs():
    drawn = [[sample(5, 9, seed=2**64 - 1), sample(6, 9)], [sample(7, reason="length"), sample(8, 9)]]
    table = conform(sample_table(prompts(False, True), drawn, IDENTITY), SAMPLE_SCHEMA)
    rows = table.to_pylist()
    assert [(row["prompt_id"], row["sample_index"]) for row in rows] == [
        ("p0", 0),
        ("p0", 1),
        ("p1", 0),
        ("p1", 1),
    ]
    assert rows[0]["seed"] == 2**64 - 1
    assert rows[2]["response_ids"] == [7]
    assert rows[2]["finish_reason"] == "length"
    assert rows[3]["messages"] == [{"role": "user", "content": "question 1"}]
    assert {row["policy_digest"] for row in rows} == {"a" * 64}
    assert {row["engine"] for row in rows} == {"toy/1"}


def test_everything_worth_knowing_is_counted():
    drawn = [
        [sample(5, 9), sample(5, 9), sample(5, 9)],
        [sample(5, 9), sample(6, 7, reason="length"), sample(9, text=" \n", ids_from="retokenized")],
    ]
    found = tally(sample_table(prompts(False, True), drawn, IDENTITY))
    assert found.counts == {
        "prompts": 2,
        "samples": 6,
        "tokens": 11,
        "cut": 1,
        "empty": 1,
        "duplicates": 2,
        "truncated_prompts": 1,
        "retokenized": 1,
    }
    assert found.measures == pytest.approx(
        {"mean_tokens": 11 / 6, "finished_share": 5 / 6, "empty_share": 1 / 6, "duplicate_share": 2 / 6}
    )


def test_the_same_chat_twice_in_a_data_set_is_not_a_duplicate_response():
    twice = pa.concat_tables([prompts(False), prompts(False)])
    found = tally(sample_table(twice, [[sample(5, 9)], [sample(5, 9)]], IDENTITY))
    assert found.duplicates == 0


def test_tallies_of_shards_add_up_to_that_of_the_whole():
    one = tally(sample_table(prompts(False), [[sample(5, 9), sample(5, 9)]], IDENTITY))
    assert (one + one).samples == 4
    assert (one + one).duplicates == 2
    assert one + Tally() == one


def test_nothing_has_no_shares():
    assert Tally().measures == {}
