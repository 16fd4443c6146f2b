import json
import shutil
from pathlib import Path

import pytest

from selfie.errors import InvalidInput
from selfie.models.checkpoints import checkpoint_files, context_length, is_checkpoint_file


@pytest.fixture
def checkpoint(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    directory = tmp_path / "checkpoint"
    shutil.copytree(tiny_checkpoint, directory)
    return directory


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_the_files_are_weights_configuration_and_tokenizer(checkpoint: Path):
    names = [path.name for path in checkpoint_files(checkpoint)]
    assert names == [
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_code_and_pickles_beside_the_weights_are_left_behind(checkpoint: Path):
    (checkpoint / "modeling.py").write_text("print('run')")
    (checkpoint / "training_args.bin").write_bytes(b"pickle")
    (checkpoint / "consolidated.safetensors").write_bytes(b"again")
    names = {path.name for path in checkpoint_files(checkpoint)}
    assert not names & {"modeling.py", "training_args.bin", "consolidated.safetensors"}


def test_pickled_weights_are_refused(checkpoint: Path):
    (checkpoint / "model.safetensors").rename(checkpoint / "pytorch_model.bin")
    with pytest.raises(
        InvalidInput, match=r"model\.uri: .*pickles \(pytorch_model\.bin\).*safe_serialization"
    ):
        checkpoint_files(checkpoint)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_remote_code_is_refused(checkpoint: Path, name: str):
    change(checkpoint / name, auto_map={"AutoModelForCausalLM": "modeling.Model"})
    with pytest.raises(InvalidInput, match=f"{name} asks for remote code"):
        checkpoint_files(checkpoint)


def test_a_missing_shard_is_named(checkpoint: Path):
    (checkpoint / "model.safetensors").rename(checkpoint / "model-00001-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(InvalidInput, match=r"model-00002-of-00002\.safetensors is missing"):
        checkpoint_files(checkpoint)
    (checkpoint / "model-00002-of-00002.safetensors").write_bytes(b"there")
    assert len(checkpoint_files(checkpoint)) == 8


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/passwd", "weights/model.safetensors", 7])
def test_an_index_does_not_lead_out_of_its_directory(checkpoint: Path, name: object):
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(InvalidInput, match=r"index\.json names .* as a file"):
        checkpoint_files(checkpoint)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("adapter_config.json", "{}", "is an adapter"),
        ("config.json", '{"quantization_config": {}}', "quantised"),
        ("config.json", "[]", "not a JSON object"),
        ("config.json", "{", "not JSON"),
        ("model.safetensors.index.json", "{}", "names no file"),
    ],
)
def test_what_cannot_be_trained_is_refused(checkpoint: Path, name: str, content: str, problem: str):
    (checkpoint / name).write_text(content)
    with pytest.raises(InvalidInput, match=problem):
        checkpoint_files(checkpoint)


def test_a_directory_without_config_is_no_checkpoint(tmp_path: Path):
    with pytest.raises(InvalidInput, match=r"reference\.uri: .* has no config\.json"):
        checkpoint_files(tmp_path, field="reference.uri")


def test_the_context_length_comes_from_the_config(checkpoint: Path):
    assert context_length(checkpoint) == 2048
    (checkpoint / "config.json").write_text('{"n_positions": 1024}')
    assert context_length(checkpoint) == 1024
    (checkpoint / "config.json").write_text("{}")
    assert context_length(checkpoint) is None


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("model.safetensors", True),
        ("tokenizer.json", True),
        ("LICENSE", True),
        ("consolidated.safetensors", False),
        ("original/params.json", False),
        ("pytorch_model.bin", False),
        ("modeling_x.py", False),
    ],
)
def test_only_the_files_of_a_checkpoint_are_fetched(name: str, wanted: bool):
    assert is_checkpoint_file(name) is wanted
