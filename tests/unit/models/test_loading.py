import json
import shutil
from pathlib import Path

import pytest

from selfie.errors import DataCorrupted
from selfie.models.loading import load_policy


def test_a_policy_is_loaded_for_evaluation_with_the_kernel_that_was_asked_for(tiny_checkpoint: Path):
    import torch

    model = load_policy(tiny_checkpoint)
    assert not model.training
    assert model.dtype == torch.float32
    assert model.config._attn_implementation == "sdpa"
    assert load_policy(tiny_checkpoint, attention="eager").config._attn_implementation == "eager"
    assert load_policy(tiny_checkpoint, dtype="bfloat16").dtype == torch.bfloat16


def test_a_checkpoint_that_lacks_a_weight_is_refused(tiny_checkpoint: Path, tmp_path: Path):
    from safetensors.torch import load_file, save_file

    directory = tmp_path / "copy"
    shutil.copytree(tiny_checkpoint, directory)
    weights = load_file(directory / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    save_file({key: value for key, value in weights.items() if key != name}, directory / "model.safetensors")
    with pytest.raises(DataCorrupted, match=name):
        load_policy(directory)


def test_pickles_are_not_opened(tiny_checkpoint: Path, tmp_path: Path):
    import torch

    shutil.copy(tiny_checkpoint / "config.json", tmp_path)
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(OSError, match="safetensors"):
        load_policy(tmp_path)


def test_the_fixture_is_the_same_in_every_process(tiny_checkpoint: Path):
    # Others compare numbers that were made with it.
    config = json.loads((tiny_checkpoint / "config.json").read_text())
    assert (config["vocab_size"], config["tie_word_embeddings"], config["dtype"]) == (400, True, "float32")
    model = load_policy(tiny_checkpoint)
    assert model.lm_head.weight is model.model.embed_tokens.weight
