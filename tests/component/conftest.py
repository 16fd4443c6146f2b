"""What several component tests share: a scorer of a tiny policy and a tiny reference."""

import shutil
from pathlib import Path

import pytest

from selfie.models.chat import ChatTokenizer
from selfie.scoring.core import Scorer


@pytest.fixture(scope="session")
def perturbed_checkpoint(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint after some training, as it were: noise on every weight."""
    directory = tmp_path_factory.mktemp("perturbed-checkpoint")
    shutil.copytree(tiny_checkpoint, directory, dirs_exist_ok=True)
    import torch

    from selfie.models.loading import load_policy

    model = load_policy(tiny_checkpoint)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05 * parameter.abs().mean())
    model.save_pretrained(directory)
    return directory


@pytest.fixture(scope="session")
def scorer(perturbed_checkpoint: Path, tiny_checkpoint: Path) -> Scorer:
    from selfie.scoring.loading import Weights, load_scorer

    policy, reference = Weights(perturbed_checkpoint), Weights(tiny_checkpoint)
    return load_scorer(policy, reference, device="cpu", token_budget=256)


@pytest.fixture(scope="session")
def tokenizer(tiny_checkpoint: Path) -> ChatTokenizer:
    return ChatTokenizer(tiny_checkpoint)
