"""Pairs reach the trainer as the ids that were scored: kept ones only, whole, and checked."""

from typing import Any

import pyarrow as pa
import pytest

from selfie.errors import FailedPrecondition, InvalidInput
from selfie.training.trainer.dataset import PairCollator, kept_rows, lengths, training_set


def row(**changes: Any) -> dict[str, Any]:
    plain = {"pair_id": "p0", "prompt_ids": [5, 6], "chosen_ids": [7, 8, 2], "rejected_ids": [9, 2]}
    return plain | changes


def test_only_pairs_that_the_filter_kept_are_trained_on() -> None:
    table = pa.Table.from_pylist([{"pair_id": "a", "kept": True}, {"pair_id": "b", "kept": False}])
    assert [kept["pair_id"] for kept in kept_rows(table)] == ["a"]


def test_pairs_that_no_filter_has_seen_are_all_trained_on() -> None:
    assert len(kept_rows(pa.Table.from_pylist([{"pair_id": "a"}, {"pair_id": "b"}]))) == 2


def test_a_round_without_pairs_is_refused() -> None:
    with pytest.raises(FailedPrecondition, match="none of the 1 pairs") as caught:
        kept_rows(pa.Table.from_pylist([{"pair_id": "b", "kept": False}]))
    assert caught.value.reason == "NoPairs"


def test_ids_and_soft_labels_arrive_as_they_are() -> None:
    pairs = training_set([row(soft_label=0.9), row(soft_label=None)], max_tokens=9, vocabulary=10)
    assert pairs["chosen_ids"][0] == [7, 8, 2]
    assert pairs["soft_label"][:] == [0.9, 1.0]
    assert lengths(pairs) == [5, 5]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"rejected_ids": []}, r"pairs\[p0\].rejected_ids: is empty"),
        ({"chosen_ids": [99]}, r"pairs\[p0\].chosen_ids: holds ids outside the 10"),
        ({"prompt_ids": [-1]}, r"pairs\[p0\].prompt_ids: holds ids outside the 10"),
        ({"prompt_ids": [5] * 8}, r"pairs\[p0\]: has 11 tokens and the model takes 9"),
    ],
    ids=str,
)
def test_a_pair_that_cannot_be_trained_on_whole_is_refused_by_name(
    changes: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InvalidInput, match=problem):
        training_set([row(**changes)], max_tokens=9, vocabulary=10)


def test_a_batch_is_padded_to_its_longest_row_only() -> None:
    pairs = training_set([row(), row(prompt_ids=[5], soft_label=0.8)], max_tokens=9, vocabulary=10)
    batch = PairCollator(pad_token_id=0)([dict(pair) for pair in pairs])
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8, 2], [5, 7, 8, 2, 0], [5, 6, 9, 2, 0], [5, 9, 2, 0, 0]]
    assert batch["completion_mask"][1].tolist() == [0, 1, 1, 1, 0]
    assert batch["row"].tolist() == [0, 1]
    assert batch["soft_label"].tolist() == pytest.approx([1.0, 0.8])
