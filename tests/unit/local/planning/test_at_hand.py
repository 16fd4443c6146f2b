"""Models as far as this machine has them."""

import json
from pathlib import Path

import pytest

from selfie.errors import InvalidInput
from selfie.local.planning.at_hand import model_at_hand
from selfie.models.embedded import embedded_checkpoint
from selfie.runs.estimates.shapes import COMMON
from selfie.runs.sources import ModelSource


def found(uri: str, cache: Path):
    return model_at_hand(ModelSource(uri=uri), cache, field="spec.model")


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_a_directory_gives_shape_tokenizer_and_weights(tiny_checkpoint, tmp_path, form):
    model = found(form.format(tiny_checkpoint), tmp_path)
    assert (model.shape.layers, model.shape.hidden) == (2, 64)
    assert model.directory == tiny_checkpoint
    assert model.has_tokenizer
    assert model.has_weights
    assert str(tiny_checkpoint) in model.basis


def test_the_shape_is_that_of_the_weights(tiny_checkpoint, tmp_path):
    model = found(str(tiny_checkpoint), tmp_path)
    stored = (tiny_checkpoint / "model.safetensors").stat().st_size
    assert model.shape.weight_bytes == pytest.approx(stored, rel=0.03)


def test_a_configuration_alone_has_a_shape_and_nothing_to_load(tiny_checkpoint, tmp_path):
    (tmp_path / "config.json").write_text((tiny_checkpoint / "config.json").read_text())
    model = found(str(tmp_path), tmp_path)
    assert model.shape.layers == 2
    assert not model.has_weights
    assert not model.has_tokenizer


def test_a_snapshot_of_the_hub_is_found_in_selfies_cache(tiny_checkpoint, tmp_path):
    repository = tmp_path / "hub" / "models--org--name"
    snapshot = repository / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    (snapshot / "config.json").write_text((tiny_checkpoint / "config.json").read_text())
    assert found("hf://org/name", tmp_path).directory == snapshot


def test_of_a_model_elsewhere_the_shape_is_that_of_its_like(tmp_path):
    model = found("s3://models/mistral-7b", tmp_path)
    assert model.shape == COMMON["Mistral-7B"]
    assert model.directory is None
    assert not model.has_weights
    assert "assumed to be like Mistral-7B" in model.basis


def test_the_built_in_model_is_not_converted_for_a_plan(tmp_path):
    model = found("builtin://smollm2-135m-instruct", tmp_path)
    assert model.directory is None
    assert model.shape == COMMON["SmolLM2-135M"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("uri", "field", "problem"),
    [
        ("hf://org/name", "spec.model.uri", "does not tell its size"),
        ("builtin://toy", "spec.model.uri", "there is no built-in model"),
    ],
)
def test_a_model_of_which_nothing_is_known_is_refused_by_field(tmp_path, uri, field, problem):
    with pytest.raises(InvalidInput, match=problem) as refused:
        found(uri, tmp_path)
    assert refused.value.field == field


def test_a_configuration_without_sizes_is_refused_by_field(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mamba"}))
    with pytest.raises(InvalidInput, match="has no") as refused:
        found(str(tmp_path), tmp_path)
    assert refused.value.field == "spec.model.uri"


def test_an_unknown_built_in_model_is_refused_alike_when_it_is_converted(tmp_path):
    with pytest.raises(InvalidInput, match="there is no built-in model"):
        embedded_checkpoint("toy", tmp_path)
