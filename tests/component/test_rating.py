"""The evaluator as a program: it learns from prepared pairs what people like, and rates by it."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from selfie.artifacts.exits import Exit
from selfie.artifacts.manifests import Manifest, publish, read_manifest, read_published, verify
from selfie.artifacts.programs import run_program
from selfie.artifacts.rows import SAMPLE_SCHEMA
from selfie.artifacts.shards import read_group, write_shard
from selfie.artifacts.store import Store, open_store
from selfie.artifacts.weights import weights_digest
from selfie.models.chat import ChatTokenizer
from selfie.prepare.program import prepare
from selfie.rating.files import read_evaluator
from selfie.rating.program import rate

EVALUATOR, RATINGS = "rounds/00/evaluator", "rounds/01/evaluate-ratings"
INITIAL, SAMPLES = "rounds/00/evaluate-initial", "rounds/01/evaluate-samples"
# What these people prefer has nothing to do with length.
LIKED = ["The sea is wide and deep.", "Paris is the capital.", "The river rose in the night."]
DISLIKED = ["Boats, oars and ropes: 345.", "Flour and yeast, 12.", "Sand salt and 7 more."]

Start = Callable[..., int]


def pair(number: int) -> dict[str, Any]:
    return {
        "id": f"pair-{number}",
        "prompt": f"Say {number} things.",
        "chosen": LIKED[number % 3] + " So it is." * (number % 2),
        "rejected": DISLIKED[number % 3] + " So it is." * (number // 2 % 2),
    }


def write_rows(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Starts a program on a store and returns its exit status."""

    def run(program: Any, store: Store, step: str, number: int = 1, **fields: Any) -> int:
        attempt = {"runUri": store.uri, "step": step, "number": number, "runUid": "uid"}
        file = tmp_path / "parameters.json"
        file.write_text(json.dumps({"attempt": attempt, "cacheDir": str(tmp_path / "cache"), **fields}))
        return run_program(program, ["--parameters", str(file)])

    return run


@pytest.fixture
def prepared(tmp_path: Path, tiny_checkpoint: Path, start: Start) -> Callable[[str], Store]:
    """A store in which `prepare` has left an evaluator 70 pairs, and the initial model its samples."""

    def make(name: str) -> Store:
        store = open_store((tmp_path / name).as_uri())
        status = start(
            prepare,
            store,
            "prepare",
            model={"uri": str(tiny_checkpoint), "revision": None},
            seed={"dataset": write_rows(tmp_path / "seed.jsonl", [*map(pair, range(74))]), "size": 4},
            heldout={"dataset": write_rows(tmp_path / "heldout.jsonl", [*map(pair, range(100, 120))])},
            evaluatorPairs=70,
            maxPromptTokens=256,
        )
        assert status == 0
        add_samples(store, INITIAL, DISLIKED, tiny_checkpoint)
        add_samples(store, SAMPLES, LIKED, tiny_checkpoint)
        return store

    return make


def add_samples(store: Store, step: str, texts: list[str], checkpoint: Path) -> None:
    tokenizer = ChatTokenizer(checkpoint)
    rows = []
    for number, text in enumerate(texts):
        messages = [{"role": "user", "content": f"Tell me {number} of it."}]
        prompt = tokenizer.prompt_ids(messages, max_prompt_tokens=256, field="prompt")
        rows.append(
            {
                "prompt_id": f"e{number}",
                "messages": messages,
                "prompt_ids": prompt.ids,
                "prompt_digest": prompt.digest,
                "truncated": False,
                "source": None,
                "sample_index": 0,
                "seed": 1,
                "response_text": text,
                "response_ids": tokenizer.response_ids(text),
                "ids_from": "engine",
                "finish_reason": "stop",
                "policy_digest": "p",
                "engine": "toy",
            }
        )
    table = pa.Table.from_pylist(rows, schema=SAMPLE_SCHEMA)
    entry = write_shard(
        store,
        f"{step}/a1/samples.parquet",
        table,
        schema=SAMPLE_SCHEMA,
        group="samples",
        name="samples.parquet",
    )
    now = datetime.now(UTC)
    publish(
        store,
        Manifest(
            run_uid="uid",
            round=0,
            step=step,
            attempt=1,
            writer="w",
            files=(entry,),
            started_at=now,
            finished_at=now,
        ),
    )


def published(store: Store, step: str) -> Manifest:
    manifest = read_manifest(store, step)
    assert manifest is not None
    return manifest


def files(store: Store, step: str, group: str) -> dict[str, str]:
    found = read_published(store, step)
    assert found is not None
    return {"path": found[1].path, "sha256": found[1].sha256, "group": group}


def initial(store: Store) -> dict[str, str]:
    digest = weights_digest(published(store, "prepare").group("model"))
    return {"step": "prepare", "group": "model", "digest": digest}


def to_fit(store: Store, **fields: Any) -> dict[str, Any]:
    return {
        "kind": "fit",
        "initial": initial(store),
        "pairs": files(store, "prepare", "evaluator"),
        "heldout": files(store, "prepare", "heldout"),
        "samples": files(store, INITIAL, "samples"),
        **fields,
    }


def to_rate(store: Store, **fields: Any) -> dict[str, Any]:
    return {
        "kind": "rate",
        "initial": initial(store),
        "evaluator": files(store, EVALUATOR, "evaluator"),
        "samples": files(store, SAMPLES, "samples"),
        **fields,
    }


def failure(store: Store, step: str) -> dict[str, Any]:
    error: dict[str, Any] = json.loads(store.read(f"{step}/a1/error.json"))["error"]
    return error


def ratings(store: Store, step: str, group: str) -> np.ndarray:
    return np.array(read_group(store, published(store, step), group)["rating"].to_pylist())


def test_an_evaluator_learns_what_people_prefer_and_rates_by_it(prepared, start: Start):
    store = prepared("run")
    assert start(rate, store, EVALUATOR, **to_fit(store)) == 0
    assert start(rate, store, RATINGS, **to_rate(store)) == 0
    fitted, rated = published(store, EVALUATOR), published(store, RATINGS)
    verify(store, fitted)
    verify(store, rated)
    assert fitted.counts == {"pairs": 70, "heldout": 20, "samples": 3}
    measures = fitted.measures
    assert measures["heldout_accuracy"] > 0.8
    assert (
        measures["heldout_accuracy_low"] < measures["heldout_accuracy"] <= measures["heldout_accuracy_high"]
    )
    assert measures["cross_validated_accuracy"] > 0.8
    assert 0 < measures["cross_validated_log_loss"] < np.log(2)
    # What they like is said of other prompts, and one in two of their choices is the longer.
    assert measures["heldout_longer"] < 0.8
    assert rated.counts == {"samples": 3}
    assert rated.measures["mean_rating"] > measures["mean_rating"]
    liked, disliked = ratings(store, RATINGS, "ratings"), ratings(store, EVALUATOR, "initial-ratings")
    # Only what answers the same prompt can be compared.
    assert (liked > disliked).all()
    assert rated.measures["mean_rating"] == pytest.approx(liked.mean())


def test_what_was_read_is_pinned_and_every_rating_says_who_gave_it(prepared, start: Start):
    store = prepared("run")
    start(rate, store, EVALUATOR, **to_fit(store))
    start(rate, store, RATINGS, **to_rate(store))
    rated = published(store, RATINGS)
    assert rated.inputs == {
        "initial": initial(store)["digest"],
        "evaluator": files(store, EVALUATOR, "")["sha256"],
        "samples": files(store, SAMPLES, "")["sha256"],
    }
    (entry,) = published(store, EVALUATOR).group("evaluator")
    rows = read_group(store, rated, "ratings")
    assert set(rows["evaluator_digest"].to_pylist()) == {entry.sha256}
    assert rows["prompt_id"].to_pylist() == ["e0", "e1", "e2"]


def test_two_runs_on_the_same_pairs_have_one_evaluator_to_the_byte(prepared, start: Start):
    found = []
    for name in ("one", "other"):
        store = prepared(name)
        start(rate, store, EVALUATOR, **to_fit(store))
        start(rate, store, RATINGS, **to_rate(store))
        entries = (*published(store, EVALUATOR).files, *published(store, RATINGS).files)
        found.append({entry.group: entry.sha256 for entry in entries})
    assert set(found[0]) == {"evaluator", "initial-ratings", "ratings"}
    assert found[0] == found[1]


def test_without_samples_of_the_initial_model_there_is_an_evaluator_and_no_rating(prepared, start: Start):
    store = prepared("run")
    assert start(rate, store, EVALUATOR, **to_fit(store, samples=None)) == 0
    fitted = published(store, EVALUATOR)
    assert {entry.group for entry in fitted.files} == {"evaluator"}
    assert "mean_rating" not in fitted.measures


@pytest.mark.parametrize("damage", ["altered", "cut short", "missing"])
def test_a_damaged_evaluator_rates_nothing(prepared, start: Start, damage: str):
    store = prepared("run")
    start(rate, store, EVALUATOR, **to_fit(store))
    (entry,) = published(store, EVALUATOR).group("evaluator")
    data = store.read(entry.path)
    if damage == "missing":
        store.delete(entry.path)
    else:
        store.write(entry.path, data[:-8] if damage == "cut short" else data[:-8] + b"\0" * 8)
    assert start(rate, store, RATINGS, **to_rate(store)) == Exit.FAILED
    assert failure(store, RATINGS)["reason"] == "DataCorrupted"
    assert entry.path in failure(store, RATINGS)["message"]
    assert read_manifest(store, RATINGS) is None


def test_an_evaluator_of_other_weights_is_refused(prepared, start: Start):
    store = prepared("run")
    start(rate, store, EVALUATOR, **to_fit(store))
    fitted = published(store, EVALUATOR)
    other = fitted.model_copy(update={"step": "rounds/00/other", "inputs": {"initial": "f" * 64}})
    publish(store, other)
    told = to_rate(store, evaluator=files(store, "rounds/00/other", "evaluator"))
    assert start(rate, store, RATINGS, **told) == Exit.FAILED
    assert failure(store, RATINGS)["reason"] == "EvaluatorDiffers"


def test_other_weights_than_were_promised_are_refused(prepared, start: Start):
    store = prepared("run")
    told = to_fit(store, initial={**initial(store), "digest": "f" * 64})
    assert start(rate, store, EVALUATOR, **told) == Exit.FAILED
    assert failure(store, EVALUATOR)["reason"] == "WeightsDiffer"


def test_an_evaluator_is_read_as_it_was_written(prepared, start: Start):
    store = prepared("run")
    start(rate, store, EVALUATOR, **to_fit(store))
    fitted = published(store, EVALUATOR)
    model, digest = read_evaluator(store, fitted)
    assert digest == fitted.group("evaluator")[0].sha256
    assert model.weights.shape == (64,)
    assert (model.ridge, model.length_weight) == (fitted.measures["ridge"], fitted.measures["length_weight"])


def test_parameters_that_are_wrong_are_named(prepared, start: Start):
    store = prepared("run")
    assert start(rate, store, EVALUATOR, kind="fit", initial=initial(store)) == 2
    assert "parameters.pairs" in failure(store, EVALUATOR)["message"]
