"""Labels and responses held against an evaluator that is not the policy."""

import pyarrow as pa
import pytest

from selfie.artifacts.rows import PAIR_SCHEMA
from selfie.report.audits import audit_labels, longer_share

EASY, HARD = "The cat sat on the mat.", "Institutional considerations necessitate deliberation."


def table(*rows) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=PAIR_SCHEMA)


def noise(**times: int) -> pa.Table:
    return pa.table({"pair_id": list(times), "times_noisy": pa.array(times.values(), pa.int32())})


@pytest.fixture
def kept(pair_of) -> pa.Table:
    """Three right labels, one wrong one, and one that the evaluator has no opinion on."""
    right = [pair_of(name, chosen_text=EASY, rejected_text=HARD) for name in ("a", "b", "c")]
    wrong = pair_of("d", chosen_text=HARD, rejected_text=EASY, noisy=True)
    return table(*right, wrong, pair_of("e", chosen_text="123", rejected_text=HARD))


def test_labels_that_the_evaluator_cannot_rate_are_left_out(kept):
    found = audit_labels("readingEase", kept, None)
    assert (found.labels.value, found.labels.n) == (0.75, 4)


def test_a_detector_is_judged_by_how_wrong_its_suspects_are(kept):
    found = audit_labels("readingEase", kept, None)
    assert (found.wrong_if_noisy.value, found.wrong_if_noisy.n) == (1, 1)
    assert (found.wrong_otherwise.value, found.wrong_otherwise.n) == (0, 3)


def test_pairs_that_training_took_to_be_noisy_are_counted_once_however_often(kept):
    found = audit_labels("readingEase", kept, noise(a=5, d=1, b=0, c=0, e=9))
    assert (found.wrong_if_trained_noisy.value, found.wrong_if_trained_noisy.n) == (0.5, 2)
    assert (found.wrong_if_trained_clean.value, found.wrong_if_trained_clean.n) == (0, 2)


@pytest.mark.parametrize("times", [None, {"a": 0, "b": 0}], ids=["not published", "never noisy"])
def test_an_idle_detector_in_training_is_not_judged(kept, times):
    found = audit_labels("readingEase", kept, None if times is None else noise(**times))
    assert found.wrong_if_trained_noisy is None
    assert found.wrong_if_trained_clean is None


def test_without_an_evaluator_or_pairs_nothing_is_audited(kept):
    assert audit_labels("none", kept, None) is None
    assert audit_labels("readingEase", None, None) is None
    assert audit_labels("readingEase", kept.slice(0, 0), None) is None
    assert audit_labels("readingEase", kept.slice(4), None) is None


def test_labels_for_the_longer_are_counted_by_tokens_and_equal_lengths_count_half(pair_of):
    lengths = {"a": (9, 4), "b": (3, 4), "c": (5, 5), "d": (6, 5)}
    rows = [
        pair_of(name, chosen_tokens=mine, rejected_tokens=other) for name, (mine, other) in lengths.items()
    ]
    found = longer_share(table(*rows))
    assert (found.value, found.n) == (2.5 / 4, 4)


def test_without_pairs_no_label_prefers_a_length(kept):
    assert longer_share(None) is None
    assert longer_share(kept.slice(0, 0)) is None
