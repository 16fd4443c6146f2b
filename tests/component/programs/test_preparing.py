"""Prepare as a program: from a model and data sets to what engines and trainers read."""

import json
import logging
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from selfie.artifacts.manifests import read_manifest, verify
from selfie.artifacts.shards import read_group
from selfie.artifacts.store import Store, open_store
from selfie.artifacts.weights import pull, weights_digest
from selfie.models.chat import ChatTokenizer, ids_digest
from selfie.prepare.program import prepare

from .conftest import failure, pair, published, write_rows

ROOT = Path(__file__).parents[3]


def test_a_run_finds_everything_that_it_needs_in_its_store(store: Store, settings: dict[str, Any], run: Any):
    assert run(prepare, settings) == 0
    manifest = published(store, "prepare")
    verify(store, manifest)
    assert sorted({entry.group for entry in manifest.files}) == [
        "evaluation-prompts",
        "heldout",
        "model",
        "prompts-round-01",
        "prompts-round-02",
        "seed",
    ]
    rows = {
        name: manifest.counts[name] for name in manifest.counts if "-" in name or name in ("seed", "heldout")
    }
    assert rows["seed"] == 4
    assert rows["heldout"] == 3
    assert (rows["prompts-round-01"], rows["prompts-round-02"], rows["evaluation-prompts"]) == (2, 3, 1)
    assert manifest.counts["repeated_prompts"] == 0
    assert manifest.weights_digest == weights_digest(manifest.group("model")) == manifest.inputs["model"]
    assert set(manifest.inputs) >= {"template", "tokenizer", "seed", "heldout", "prompts-round-01"}
    assert json.loads(store.read("prepare/a1/progress.json"))["total"] == 13


def test_the_rows_hold_the_ids_that_the_models_own_template_gives(
    store: Store, settings: dict[str, Any], run: Any, tmp_path: Path
):
    assert run(prepare, settings) == 0
    manifest = published(store, "prepare")
    tokenizer = ChatTokenizer(pull(store, manifest.group("model"), tmp_path / "weights"))
    rows = read_group(store, manifest, "seed").to_pylist()
    assert [row["pair_id"] for row in rows] == ["pair-0", "pair-1", "pair-2", "pair-3"]
    for row in rows:
        prompt = tokenizer.prompt_ids(row["messages"])
        assert tuple(row["prompt_ids"]) == prompt.ids
        assert row["prompt_digest"] == ids_digest(row["prompt_ids"])
        assert tuple(row["chosen_ids"]) == tokenizer.response_ids(row["chosen_text"])
        assert row["rejected_ids"][-1] == tokenizer.end_of_turn_id
        assert (row["ids_from"], row["source"], row["truncated"]) == ("retokenized", "hand", False)
    second = read_group(store, manifest, "prompts-round-02").to_pylist()
    assert [row["messages"][0]["content"][-2] for row in second] == ["2", "3", "4"]


def test_long_prompts_are_cut_once_and_counted(store: Store, settings: dict[str, Any], run: Any):
    assert run(prepare, {**settings, "maxPromptTokens": 12}) == 0
    manifest = published(store, "prepare")
    rows = read_group(store, manifest, "seed").to_pylist()
    assert {len(row["prompt_ids"]) for row in rows} == {12}
    assert all(row["truncated"] for row in rows)
    assert manifest.counts["seed_truncated"] == 4
    # What is left of these prompts is the same.
    assert manifest.counts["repeated_prompts"] > 0


def test_equal_parameters_give_equal_rows_and_weights(
    store: Store, settings: dict[str, Any], run: Any, tmp_path: Path
):
    other = open_store((tmp_path / "other").as_uri())
    assert run(prepare, settings) == 0
    assert run(prepare, {**settings, "attempt": {**settings["attempt"], "runUri": other.uri}}) == 0
    first, second = published(store, "prepare"), published(other, "prepare")
    assert [entry.sha256 for entry in first.files] == [entry.sha256 for entry in second.files]
    assert first.inputs == second.inputs


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": {"dataset": "nowhere.jsonl"}}, "seed.dataset: nowhere.jsonl is not a file"),
        ({"maxPromptTokens": 2048}, "maxPromptTokens: is 2048, and the model reads 2048 tokens"),
        ({"maxPromptTokens": 0}, "parameters.maxPromptTokens: "),
        ({"model": {"uri": "/nowhere"}}, "model.uri: /nowhere is not a directory"),
        ({"model": {"uri": "builtin://none"}}, "model.uri: there is no built-in model 'none'"),
        ({"unknown": 1}, "parameters.unknown: "),
    ],
)
def test_wrong_parameters_end_the_program_with_the_field(
    change: dict[str, Any], message: str, store: Store, settings: dict[str, Any], run: Any
):
    assert run(prepare, {**settings, **change}) == 2
    assert failure(store)["message"].startswith(message)
    assert not failure(store)["retryable"]
    assert read_manifest(store, "prepare") is None


def test_too_many_rows_a_leak_and_a_long_response_are_refused(
    store: Store, settings: dict[str, Any], run: Any, tmp_path: Path
):
    assert run(prepare, {**settings, "seed": {**settings["seed"], "size": 9}}) == 2
    assert "asks for 9" in failure(store)["message"]
    assert "has 5 rows" in failure(store)["message"]
    assert run(prepare, {**settings, "heldout": settings["seed"]}) == 2
    assert "is the same pair as" in failure(store)["message"]
    long = write_rows(tmp_path / "long.jsonl", [{**pair(1), "chosen": "sea " * 3000}])
    assert run(prepare, {**settings, "seed": {"dataset": long}}) == 2
    assert "long.jsonl:1 chosen: has " in failure(store)["message"]


def test_a_reference_of_another_vocabulary_is_refused_and_of_the_same_kept(
    store: Store, settings: dict[str, Any], run: Any, tiny_checkpoint: Path, tmp_path: Path
):
    reference = tmp_path / "reference"
    shutil.copytree(tiny_checkpoint, reference)
    backend = json.loads((reference / "tokenizer.json").read_text())
    renamed = {
        "ß-other" if token == "Ġthe" else token: index for token, index in backend["model"]["vocab"].items()
    }
    merges = [
        merge for merge in backend["model"]["merges"] if "".join(merge) != "Ġthe" and "Ġthe" not in merge
    ]
    backend["model"] |= {"vocab": renamed, "merges": merges}
    (reference / "tokenizer.json").write_text(json.dumps(backend))
    source = {"uri": str(reference), "revision": None}
    assert run(prepare, {**settings, "referenceModel": source}) == 2
    assert "referenceModel.uri: has another vocabulary" in failure(store)["message"]
    shutil.copy(tiny_checkpoint / "tokenizer.json", reference)
    # A base model: no chat template, which a reference does not need.
    (reference / "chat_template.jinja").unlink()
    assert run(prepare, {**settings, "seed": None, "heldout": None, "referenceModel": source}) == 0
    manifest = published(store, "prepare")
    assert weights_digest(manifest.group("reference")) == manifest.inputs["reference"]
    assert "seed" not in {entry.group for entry in manifest.files}


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket on a server of S3's protocol on this machine, given by the environment as in a pod."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    serving = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
    threading.Thread(target=serving.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{serving.server_port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    import boto3

    boto3.client("s3").create_bucket(Bucket="selfie-test")
    yield "s3://selfie-test"
    serving.shutdown()


def test_model_and_data_come_from_a_bucket_into_a_bucket(
    bucket: str, settings: dict[str, Any], run: Any, tiny_checkpoint: Path
):
    origin = open_store(f"{bucket}/origin")
    for file in tiny_checkpoint.iterdir():
        origin.upload(file, f"model/{file.name}", keep_source=True)
    origin.upload(Path(settings["seed"]["dataset"]), "data/seed.jsonl", keep_source=True)
    settings |= {
        "attempt": {**settings["attempt"], "runUri": f"{bucket}/run"},
        "model": {"uri": f"{bucket}/origin/model"},
        "seed": {"dataset": f"{bucket}/origin/data/seed.jsonl"},
    }
    assert run(prepare, settings) == 0
    target = open_store(f"{bucket}/run")
    manifest = published(target, "prepare")
    assert manifest.counts["seed"] == 5
    assert len(manifest.group("model")) == len(list(tiny_checkpoint.iterdir()))
    verify(target, manifest)


@pytest.mark.parametrize("program", ["selfie.prepare", "selfie.publish"])
def test_a_program_that_fails_leaves_a_status_a_file_and_a_log_of_json(
    program: str, store: Store, settings: dict[str, Any], tmp_path: Path
):
    path = tmp_path / "parameters.json"
    path.write_text(json.dumps({"attempt": settings["attempt"], "nonsense": True}))
    done = subprocess.run(
        [sys.executable, "-m", program, "--parameters", str(path)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "services")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert all(json.loads(line) for line in done.stderr.splitlines())
    assert failure(store)["reason"] == "InvalidInput"


def test_an_evaluator_has_a_group_of_pairs_that_the_run_does_not_train_on(
    store: Store, settings: dict[str, Any], run: Any, tmp_path: Path
):
    seed = write_rows(tmp_path / "many.jsonl", [pair(number) for number in range(100)])
    told = {**settings, "seed": {"dataset": seed, "size": 4}, "evaluatorPairs": 80}
    assert run(prepare, told) == 0
    manifest = published(store, "prepare")
    fitted, trained, heldout = (
        read_group(store, manifest, group)["prompt_digest"].to_pylist()
        for group in ("evaluator", "seed", "heldout")
    )
    assert manifest.counts["evaluator"] == len(set(fitted)) == 80
    assert not set(fitted) & {*trained, *heldout}


def test_a_seed_that_leaves_an_evaluator_too_few_pairs_is_refused(
    store: Store, settings: dict[str, Any], run: Any
):
    assert run(prepare, {**settings, "evaluatorPairs": 1000}) == 2
    assert failure(store)["message"].startswith("seed.size: leaves 1 of the 5 pairs")
