"""The models that the scorer and its peers are measured on: the embedded one, and a policy near to it."""

from functools import cached_property
from pathlib import Path

import torch
from transformers import AutoTokenizer, PreTrainedModel

from selfie.models.loading import load_policy
from selfie.scoring.engine import Checkpoint, PreferenceEngine


def noisy(directory: Path) -> PreTrainedModel:
    """The model of a directory with 1 % of noise on every weight, the same one every time."""
    model = load_policy(directory)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + 0.01 * torch.randn_like(parameter))
    return model


def write_noisy(directory: Path, target: Path) -> Path:
    """The same as a checkpoint with its tokenizer; returns where."""
    noisy(directory).save_pretrained(target)
    AutoTokenizer.from_pretrained(directory).save_pretrained(target)
    return target


class Models:
    """Policy and reference, loaded when somebody asks for them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.tokenizer = AutoTokenizer.from_pretrained(directory)

    @cached_property
    def engine(self) -> PreferenceEngine:
        """The scorer, on weights of its own: it lays them out anew."""
        policy, reference = noisy(self._directory), load_policy(self._directory)
        return PreferenceEngine(Checkpoint(policy, "policy"), Checkpoint(reference, "reference"))

    @cached_property
    def plain(self) -> tuple[PreTrainedModel, PreTrainedModel]:
        """In float32."""
        return noisy(self._directory), load_policy(self._directory)

    @cached_property
    def halves(self) -> tuple[PreTrainedModel, PreTrainedModel]:
        """In bfloat16."""
        return noisy(self._directory).bfloat16(), load_policy(self._directory).bfloat16()
