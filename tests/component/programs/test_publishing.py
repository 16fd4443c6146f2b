"""Publish as a program: from what a training leaves to a checkpoint that every reader takes."""

import json
from pathlib import Path
from typing import Any

import pytest

from selfie.artifacts.manifests import Manifest, verify
from selfie.artifacts.programs import Attempt
from selfie.artifacts.store import Store
from selfie.artifacts.weights import pull, weights_digest
from selfie.errors import DataCorrupted, FailedPrecondition
from selfie.models.chat import ChatTokenizer
from selfie.models.loading import load_policy
from selfie.prepare.program import prepare
from selfie.publish.formats import published_config, published_tokenizer_config
from selfie.publish.program import publish_checkpoint

from .conftest import published


def publish_settings(store: Store, source: Manifest, group: str) -> dict[str, Any]:
    digest = weights_digest(source.group(group))
    return {
        "attempt": {"runUri": store.uri, "step": "rounds/01/publish", "number": 1, "runUid": "run-1"},
        "source": {"step": source.step, "group": group, "digest": digest},
        "runName": "boats",
        "round": 1,
        "baseModel": "hf://org/name",
        "cacheDir": "/unused",
    }


def train(store: Store, settings: dict[str, Any], run: Any, tmp_path: Path) -> Manifest:
    """What a training leaves: other weights, as transformers saves them, under a manifest."""
    import torch
    from transformers import AutoTokenizer

    from selfie.artifacts.manifests import publish
    from selfie.artifacts.weights import add_directory

    assert run(prepare, settings) == 0
    base = pull(store, published(store, "prepare").group("model"), tmp_path / "weights")
    model = load_policy(base)
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.add_(0.1)
    directory = tmp_path / "trained"
    model.save_pretrained(directory)
    AutoTokenizer.from_pretrained(base).save_pretrained(directory)
    attempt = Attempt(run_uri=store.uri, step="rounds/01/train", number=1, run_uid="run-1")
    files = add_directory(store, directory, group="checkpoint", path=f"{attempt.path}/checkpoint")
    manifest = attempt.manifest(
        writer="trainer",
        started_at=published(store, "prepare").started_at,
        files=files,
        inputs={"policy": "1" * 64},
        parameters={"learningRate": 0.001},
        weights_digest=weights_digest(files),
    )
    publish(store, manifest)
    return manifest


def test_a_published_checkpoint_is_the_trained_model_and_copies_no_weights(
    store: Store, settings: dict[str, Any], run: Any, tmp_path: Path
):
    import torch

    trained = train(store, settings, run, tmp_path)
    assert run(publish_checkpoint, publish_settings(store, trained, "checkpoint")) == 0
    manifest = published(store, "rounds/01/publish")
    verify(store, manifest)
    weights = {entry.name: entry.path for entry in manifest.group("checkpoint")}
    assert weights["model.safetensors"] == "rounds/01/train/a1/checkpoint/model.safetensors"
    assert weights["config.json"].startswith("rounds/01/publish/a1/")
    assert manifest.weights_digest == weights_digest(manifest.group("checkpoint"))
    before = pull(store, trained.group("checkpoint"), tmp_path / "weights")
    after = pull(store, manifest.group("checkpoint"), tmp_path / "weights")
    ids = torch.arange(3, 60).unsqueeze(0)
    with torch.no_grad():
        assert torch.equal(load_policy(before)(ids).logits, load_policy(after)(ids).logits)
    old, new = ChatTokenizer(before), ChatTokenizer(after)
    assert (old.template_digest, old.tokenizer_digest) == (new.template_digest, new.tokenizer_digest)
    assert old.response_ids("Seven boats.") == new.response_ids("Seven boats.")


def test_a_published_checkpoint_has_what_older_readers_look_for(
    store: Store, settings: dict[str, Any], run: Any, tmp_path: Path
):
    trained = train(store, settings, run, tmp_path)
    assert run(publish_checkpoint, publish_settings(store, trained, "checkpoint")) == 0
    directory = pull(store, published(store, "rounds/01/publish").group("checkpoint"), tmp_path / "weights")
    config = json.loads((directory / "config.json").read_text())
    assert (config["rope_theta"], config["rope_scaling"], config["torch_dtype"]) == (10000.0, None, "float32")
    tokens = json.loads((directory / "tokenizer_config.json").read_text())
    assert tokens["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert tokens["chat_template"] == (directory / "chat_template.jinja").read_text()
    assert json.loads((directory / "generation_config.json").read_text())["eos_token_id"] == [2]
    card = (directory / "README.md").read_text()
    for fact in (
        "# boats, round 1",
        "base_model: org/name",
        "`rounds/01/train`",
        '"learningRate": 0.001',
    ):
        assert fact in card
    # Another run of the same specification has another identity, and the same checkpoint.
    assert "run-1" not in card


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_type": "default", "rope_theta": 123456.0},
        {
            "rope_type": "llama3",
            "rope_theta": 500000.0,
            "factor": 8.0,
            "high_freq_factor": 4.0,
            "low_freq_factor": 1.0,
            "original_max_position_embeddings": 8192,
        },
    ],
)
def test_the_positions_of_a_published_config_stay_what_they_were(rope: dict[str, Any], tmp_path: Path):
    from transformers import AutoConfig, LlamaConfig

    LlamaConfig(rope_parameters=rope, max_position_embeddings=65536).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(published_config(json.loads(path.read_text()))))
    assert AutoConfig.from_pretrained(tmp_path).rope_parameters == rope


def test_a_published_tokenizer_keeps_its_further_special_tokens(tiny_checkpoint: Path, tmp_path: Path):
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(
        tiny_checkpoint, extra_special_tokens=["<|im_start|>"]
    )
    tokenizer.save_pretrained(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps(published_tokenizer_config(json.loads(path.read_text()), "T")))
    assert json.loads(path.read_text())["additional_special_tokens"] == ["<|im_start|>"]
    again = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert set(again.all_special_tokens) == set(tokenizer.all_special_tokens)


def test_missing_weights_are_noticed_before_they_are_published(
    store: Store, settings: dict[str, Any], run: Any, tmp_path: Path
):
    trained = train(store, settings, run, tmp_path)
    parameters = publish_settings(store, trained, "checkpoint")
    store.delete("rounds/01/train/a1/checkpoint/model.safetensors")
    with pytest.raises(DataCorrupted, match=r"model\.safetensors is named by a manifest but missing"):
        publish_checkpoint(store, parameters)


def test_publishing_again_gives_the_same_digest(
    store: Store, settings: dict[str, Any], run: Any, tmp_path: Path
):
    trained = train(store, settings, run, tmp_path)
    parameters = publish_settings(store, trained, "checkpoint")
    first = publish_checkpoint(store, parameters)
    second = publish_checkpoint(store, {**parameters, "attempt": {**parameters["attempt"], "number": 2}})
    assert first.weights_digest == second.weights_digest


def test_without_a_seed_the_base_model_is_published_as_it_is(
    store: Store, settings: dict[str, Any], run: Any
):
    assert run(prepare, settings) == 0
    prepared = published(store, "prepare")
    manifest = publish_checkpoint(store, publish_settings(store, prepared, "model"))
    card = store.read(next(entry.path for entry in manifest.files if entry.name == "README.md")).decode()
    assert "unchanged" in card
    assert "Parameters of the training" not in card


def test_other_weights_than_the_ones_meant_are_not_published(
    store: Store, settings: dict[str, Any], run: Any
):
    assert run(prepare, settings) == 0
    parameters = publish_settings(store, published(store, "prepare"), "model")
    parameters["source"]["digest"] = "0" * 64
    with pytest.raises(FailedPrecondition, match="0000 were asked for") as caught:
        publish_checkpoint(store, parameters)
    assert caught.value.reason == "WeightsDiffer"
