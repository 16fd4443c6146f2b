"""A whole data set through a scorer of toy numbers and a real store: shards, resumption, refusals."""

import pytest

from selfie.artifacts.manifests import ManifestRef, publish, read_ref
from selfie.artifacts.rows import PREFERENCE_SCHEMA
from selfie.artifacts.shards import read_group
from selfie.artifacts.store import Store
from selfie.errors import Cancelled, FailedPrecondition, InvalidInput
from selfie.scoring.precision import Machine
from toy_rows import PROMPTS, SAMPLES, all_samples, preference, sample, task


def test_samples_become_scored_responses_and_pairs(store: Store, put, score):
    manifest = score(task(put(all_samples())))
    responses = read_group(store, manifest, "responses").to_pylist()
    pairs = read_group(store, manifest, "pairs").to_pylist()
    assert [(row["prompt_id"], row["sample_index"]) for row in responses] == [
        (f"p{number}", index) for number in range(PROMPTS) for index in range(SAMPLES)
    ]
    assert [row["response_ids"] for row in responses] == [row["response_ids"] for row in all_samples()]
    assert [pair["pair_id"] for pair in pairs] == [f"p{number}/1-0" for number in range(PROMPTS)]
    assert all(pair["margin"] == pytest.approx(0.02) for pair in pairs)
    assert pairs[0]["kept"] is None
    assert manifest.counts["prompts"] == manifest.counts["pairs"] == PROMPTS
    assert manifest.measures["mean_margin"] == pytest.approx(0.02)
    assert manifest.inputs["policy"] == "a" * 64
    assert manifest.parameters["lambda"] == 0.5


def test_a_shard_holds_whole_prompts_wherever_the_inputs_shards_end(store: Store, put, score):
    manifest = score(task(put(all_samples())))
    assert [entry.rows for entry in manifest.group("responses")] == [4, 4, 2]
    assert [entry.rows for entry in manifest.group("pairs")] == [2, 2, 1]


def test_work_that_was_stopped_goes_on_behind_its_finished_shards(put, score, engine, context_of):
    source, first = put(all_samples()), context_of("first")
    engine.before_call = lambda: first.stop("cancelled") if len(engine.calls) == 3 else None
    with pytest.raises(Cancelled):
        score(task(source), first)
    assert list(first.finished_shards("responses")) == [0]
    engine.calls.clear()
    resumed = score(task(source), context_of("second"))
    assert [row.prompt_ids[-1] for call in engine.calls for row in call] == [5, 5, 6, 6, 7, 7]
    writers = [entry.path.rsplit("-", 1)[1] for entry in resumed.group("responses")]
    assert writers == ["first.parquet", "second.parquet", "second.parquet"]
    assert resumed.counts["pairs"] == PROMPTS
    assert resumed.measures["mean_margin"] == pytest.approx(0.02)


def test_finished_work_done_again_computes_nothing_and_finds_the_same(put, score, engine):
    source = put(all_samples())
    first = score(task(source))
    computed = len(engine.calls)
    again = score(task(source))
    assert len(engine.calls) == computed
    assert (again.files, again.counts, again.measures) == (first.files, first.counts, first.measures)


@pytest.fixture
def heldout(put) -> ManifestRef:
    return put([preference(number) for number in range(4)], PREFERENCE_SCHEMA)


@pytest.fixture
def before(store: Store, heldout: ManifestRef, score, context_of) -> ManifestRef:
    """An earlier scoring of the held-out pairs."""
    manifest = score(task(heldout, kind="preferences", lam=0.0), context_of("w0", "rounds/00/evaluate"))
    return publish(store, manifest)


def test_what_the_reference_said_before_is_not_computed_again(
    store: Store, heldout, before, score, engine, context_of
):
    engine.calls.clear()
    asked = task(heldout, kind="preferences", lam=0.0, reference_scores=before)
    manifest = score(asked, context_of("w1", "rounds/01/evaluate"))
    assert engine.calls == []
    assert sum(map(len, engine.policy_calls)) == 8
    earlier = read_ref(store, before)
    for group in ("responses", "pairs"):
        assert read_group(store, manifest, group).equals(read_group(store, earlier, group))
    assert manifest.measures == {**earlier.measures, "flipped_share": 0.0}
    assert manifest.inputs["reference-scores"] == before.sha256


def test_numbers_of_another_reference_are_not_taken_over(heldout, before, score, engine, context_of):
    engine.reference_digest = "c" * 64
    engine.calls.clear()
    asked = task(
        heldout,
        kind="preferences",
        lam=0.0,
        reference_scores=before,
        reference_digest=engine.reference_digest,
    )
    score(asked, context_of("w1", "rounds/01/evaluate"))
    assert engine.policy_calls == []
    assert sum(map(len, engine.calls)) == 8


def test_a_row_that_was_not_scored_before_is_computed_in_full(put, before, score, engine, context_of):
    engine.calls.clear()
    more = put([preference(number) for number in range(6)], PREFERENCE_SCHEMA, step="rounds/02/generate")
    asked = task(more, kind="preferences", lam=0.0, reference_scores=before)
    score(asked, context_of("w1", "rounds/01/evaluate"))
    assert {row.prompt_ids[-1] - 3 for call in engine.calls for row in call} == {4, 5}


def test_labelled_pairs_measure_the_judge(store: Store, put, score):
    source = put([preference(number) for number in range(4)], PREFERENCE_SCHEMA)
    manifest = score(task(source, kind="preferences", divergence=True, judge="random"))
    pairs = read_group(store, manifest, "pairs").to_pylist()
    assert [pair["pair_id"] for pair in pairs] == ["h0", "h1", "h2", "h3"]
    assert [pair["margin"] > 0 for pair in pairs] == [False, True, False, True]
    assert (manifest.measures["n"], manifest.measures["accuracy"]) == (4, 0.5)
    assert manifest.measures["accuracy_longer"] == 0
    assert manifest.measures["divergence"] == pytest.approx(0.25)
    responses = read_group(store, manifest, "responses").to_pylist()
    assert [row["response_text"] for row in responses[:2]] == ["good", "bad"]


def test_an_empty_response_is_counted_and_makes_no_pair(store: Store, put, score):
    rows = [sample(0, 0), sample(0, 1, response_ids=[], response_text=""), sample(1, 0), sample(1, 1)]
    manifest = score(task(put(rows)))
    assert (manifest.counts["pairs"], manifest.counts["too_few"]) == (1, 1)
    assert manifest.measures["empty_share"] == 0.25
    assert read_group(store, manifest, "responses")["tokens"].to_pylist() == [3, 0, 3, 3]


def test_a_data_set_of_nothing_is_published_as_such(put, score):
    manifest = score(task(put([])))
    assert [entry.rows for entry in manifest.files] == [0, 0]
    assert manifest.counts["prompts"] == 0
    assert manifest.measures == {}


@pytest.mark.parametrize("role", ["policy", "reference"])
def test_other_weights_than_those_resident_are_refused(put, score, role: str):
    with pytest.raises(FailedPrecondition) as caught:
        score(task(put(all_samples()), **{f"{role}_digest": "f" * 64}))
    assert caught.value.reason == "OtherWeightsResident"


def test_a_policy_judges_its_own_responses_only(put, score):
    rows = [sample(0, 0), sample(0, 1, policy_digest="e" * 64)]
    with pytest.raises(FailedPrecondition) as caught:
        score(task(put(rows)))
    assert caught.value.reason == "SampledByOtherWeights"


@pytest.mark.parametrize("ids", [[1] * 60, [5000]])
def test_a_row_that_cannot_be_scored_is_named_and_never_cut(put, score, engine, ids: list[int]):
    rows = [sample(0, 0), sample(0, 1, response_ids=ids)]
    with pytest.raises(InvalidInput, match="p0"):
        score(task(put(rows)))
    assert engine.calls == []


def test_a_prompt_in_two_places_is_refused(put, score):
    with pytest.raises(InvalidInput, match="two places"):
        score(task(put([sample(0, 0), sample(1, 0), sample(0, 1)])))


def test_progress_is_told_in_rows_of_the_input(put, score, context_of):
    context = context_of("w1")
    score(
        task(put([preference(number) for number in range(4)], PREFERENCE_SCHEMA), kind="preferences"), context
    )
    assert context.progressed == (4, 4)


def test_auto_pairs_as_exact_does_and_tells_what_it_scored_again(
    score, put, store: Store, engine, context_of
):
    near = [
        sample(number, index, response_ids=[10 + number, 20 + index, 2])
        for number in (0, 1)
        for index in range(2)
    ]
    far = [
        sample(number, index, response_ids=[1, 1 + 990 * index, 2]) for number in (2, 3) for index in range(2)
    ]
    source = put(near + far)
    exact = score(task(source))
    engine.machine, engine.calls = Machine(bfloat16=True), []
    engine.error = lambda row: 0.1 if row.response_ids[1] % 2 else -0.1
    other = task(source, precision="auto")
    auto = score(other, context_of("w1", "rounds/02/score"))
    assert sum(map(len, engine.calls)) == 8 + 4
    assert auto.counts["rescored"] == 4
    assert "rescored" not in exact.counts
    rows = read_group(store, auto, "responses").to_pylist()
    assert [row["precision"] for row in rows] == ["exact"] * 4 + ["fast"] * 4
    pairs = [read_group(store, found, "pairs").to_pylist() for found in (exact, auto)]
    chosen = [[(pair["prompt_id"], pair["chosen_index"]) for pair in found] for found in pairs]
    assert chosen[0] == chosen[1]
    assert len(chosen[0]) == 4
    assert {pair["precision"] for pair in pairs[1]} == {"auto"}
    assert all(abs(pair["margin"]) > pair["tie_band"] for pair in pairs[1])
