"""A policy that is an adapter of its reference: low-rank updates beside one set of weights.

Read from the files that peft writes; what would change the model otherwise than by such updates to the
projections of its layers is refused by name.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from selfie.errors import InvalidInput
from selfie.models.checkpoints import adapter_files, read_json

_FUSED: Mapping[str, tuple[str, ...]] = {
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "output": ("self_attn.o_proj",),
    "gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "down": ("mlp.down_proj",),
}
"""Projections of the decoder, by the modules whose outputs they are, side by side."""

_KEY = re.compile(r"base_model\.model\.model\.layers\.(\d+)\.(.+)\.lora_([AB])(?:\.default)?\.weight")
_PLAIN: Mapping[str, tuple[Any, ...]] = {
    "bias": ("none",),
    "use_dora": (False, None),
    "modules_to_save": (None, []),
    "fan_in_fan_out": (False, None),
    "rank_pattern": ({}, None),
    "alpha_pattern": ({}, None),
    "trainable_token_indices": (None, []),
    "lora_bias": (False, None),
}
_REMEDY = "merge the adapter into its base model, and give that"


@dataclass(frozen=True)
class Update:
    """Adds ``x @ down.T @ up.T`` to some columns of a projection: ``down`` [rank, in], ``up`` [out, rank]."""

    columns: slice
    down: Tensor
    up: Tensor


@dataclass(frozen=True)
class Adapter:
    """Updates by layer and projection."""

    updates: Mapping[tuple[int, str], tuple[Update, ...]]

    def add(self, layer: int, projection: str, x: Tensor, out: Tensor) -> None:
        """Onto ``out`` [rows, out], what the adapter makes of ``x`` [rows, in], multiplied in float32."""
        for update in self.updates.get((layer, projection), ()):
            inner = torch.mm(x.to(update.down.dtype), update.down.T)
            if out.dtype == inner.dtype:
                out[:, update.columns].addmm_(inner, update.up.T)
            else:
                out[:, update.columns] += torch.mm(inner, update.up.T)


def read_adapter(directory: Path, model: torch.nn.Module, *, field: str = "policy") -> Adapter:
    """The adapter in ``directory`` for a model's layers; InvalidInput at ``field`` for one that does more."""
    config, weights = adapter_files(directory, field=field)
    scale = _scale(read_json(config), directory, field)
    factors = _factors(load_file(weights), directory, field)
    found: dict[tuple[int, str], tuple[Update, ...]] = {}
    for index, layer in enumerate(model.base_model.layers):  # type: ignore[union-attr,arg-type]
        for projection, modules in _FUSED.items():
            updates, start = [], 0
            for name in modules:
                weight = layer.get_submodule(name).weight
                columns = slice(start, start + weight.shape[0])
                start = columns.stop
                pair = factors.pop((index, name), None)
                if pair is not None:
                    updates.append(_update(pair, columns, scale, weight, f"layer {index} {name}", field))
            found[index, projection] = tuple(updates)
    if factors:
        index, name = next(iter(factors))
        raise InvalidInput(field, f"{directory} changes {name} of layer {index}, which is not there", _REMEDY)
    return Adapter(found)


def _scale(config: dict[str, Any], directory: Path, field: str) -> float:
    if config.get("peft_type") != "LORA":
        raise InvalidInput(field, f"{directory} is a {config.get('peft_type')} adapter, not LORA", _REMEDY)
    for name, plain in _PLAIN.items():
        if config.get(name, plain[0]) not in plain:
            raise InvalidInput(field, f"{directory} sets {name} to {config[name]!r}", _REMEDY)
    rank, alpha = int(config["r"]), float(config["lora_alpha"])
    return float(alpha / rank**0.5 if config.get("use_rslora") else alpha / rank)


def _factors(
    tensors: Mapping[str, Tensor], directory: Path, field: str
) -> dict[tuple[int, str], dict[str, Tensor]]:
    factors: dict[tuple[int, str], dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        match = _KEY.fullmatch(key)
        if match is None:
            raise InvalidInput(field, f"{directory} changes {key}, which is no layer's projection", _REMEDY)
        factors.setdefault((int(match[1]), match[2]), {})[match[3]] = tensor
    return factors


def _update(
    pair: Mapping[str, Tensor], columns: slice, scale: float, weight: Tensor, name: str, field: str
) -> Update:
    shapes = {side: tuple(tensor.shape) for side, tensor in pair.items()}
    rank = len(pair["A"]) if "A" in pair else 0
    if shapes != {"A": (rank, weight.shape[1]), "B": (weight.shape[0], rank)}:
        problem = f"has factors of shapes {shapes} for {name}, whose weight is {tuple(weight.shape)}"
        raise InvalidInput(field, problem, "give the adapter of this reference")
    down, up = (pair[side].to(weight.device, torch.float32) for side in "AB")
    return Update(columns, down, up * scale)
