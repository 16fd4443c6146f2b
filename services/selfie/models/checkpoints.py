"""What a usable checkpoint directory is: which files count, and what is refused.

Weights are read from safetensors alone, because pickles run code when they are opened, and a
checkpoint that brings Python of its own is refused. Nothing is copied but the files named here.
"""

import json
import re
from pathlib import Path, PurePosixPath
from typing import Any

from selfie.errors import InvalidInput

# File names, as globs: what a checkpoint is made of besides its weights.
SMALL_FILES = ("*.json", "*.jinja", "*.txt", "tokenizer.model", "LICENSE*")
# Second copies of the weights in other layouts, which some publishers keep beside the first.
OTHER_LAYOUTS = ("consolidated*.safetensors", "*/*")
ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"
# An index may come from anywhere, and must not lead out of its directory.
_SHARD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\.safetensors")
_PICKLES = ("*.bin", "*.pt", "*.pth")


def checkpoint_files(directory: Path, *, field: str = "model.uri") -> tuple[Path, ...]:
    """The files of the checkpoint in ``directory``, sorted: configuration, tokenizer and weights.

    Raises `InvalidInput`, at ``field``, unless it is a causal language model that can be trained
    and served: configuration there, weights complete and in safetensors, no code of its own, not
    quantised, not a bare adapter.
    """
    _check_config(directory, field)
    weights = _weight_files(directory, field)
    small = {path for pattern in SMALL_FILES for path in directory.glob(pattern) if path.is_file()}
    return tuple(sorted({*small, *weights}))


def is_adapter(directory: Path) -> bool:
    """Whether a directory holds an adapter, as peft writes it, rather than a model."""
    return (directory / ADAPTER_CONFIG).is_file()


def adapter_files(directory: Path, *, field: str = "model.uri") -> tuple[Path, ...]:
    """The files of the adapter in ``directory``; `InvalidInput`, at ``field``, unless in safetensors."""
    files = tuple(directory / name for name in (ADAPTER_CONFIG, ADAPTER_WEIGHTS))
    if not files[1].is_file():
        raise InvalidInput(
            field, f"{ADAPTER_WEIGHTS} is missing in {directory}", "save it with safe_serialization=True"
        )
    return files


def is_checkpoint_file(name: str) -> bool:
    """Whether a file of this path below a checkpoint's root is one that is wanted."""
    path = PurePosixPath(name)
    wanted = any(path.match(pattern) for pattern in ("*.safetensors", *SMALL_FILES))
    return wanted and not any(path.match(pattern) for pattern in OTHER_LAYOUTS)


def context_length(directory: Path) -> int | None:
    """Longest sequence, in tokens, that the model has positions for; None when its config is silent."""
    config = read_json(directory / "config.json")
    for name in ("max_position_embeddings", "n_positions"):
        if isinstance(config.get(name), int):
            return int(config[name])
    return None


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; `InvalidInput` when the file holds something else."""
    try:
        value = json.loads(path.read_bytes())
    except ValueError as error:
        raise InvalidInput(str(path), f"is not JSON: {error}", "save the checkpoint again") from error
    if not isinstance(value, dict):
        raise InvalidInput(str(path), "is not a JSON object", "save the checkpoint again")
    return value


def _check_config(directory: Path, field: str) -> None:
    if is_adapter(directory):
        raise InvalidInput(field, f"{directory} is an adapter", "merge it into its base model first")
    if not (directory / "config.json").is_file():
        raise InvalidInput(
            field, f"{directory} has no config.json", "name a transformers checkpoint directory"
        )
    for name in ("config.json", "tokenizer_config.json"):
        path = directory / name
        if path.is_file() and "auto_map" in read_json(path):
            remedy = "use a model whose architecture is part of transformers"
            raise InvalidInput(field, f"{name} asks for remote code (auto_map)", remedy)
    if "quantization_config" in read_json(directory / "config.json"):
        raise InvalidInput(
            field, "its weights are quantised", "use the checkpoint that it was quantised from"
        )


def _weight_files(directory: Path, field: str) -> tuple[Path, ...]:
    index = directory / _INDEX
    names = set(read_json(index).get("weight_map", {}).values()) if index.is_file() else {_SINGLE}
    strange = sorted(name for name in names if not _SHARD.fullmatch(str(name)))
    if strange or not names:
        problem = f"its {_INDEX} names {strange[0]!r} as a file" if strange else f"its {_INDEX} names no file"
        raise InvalidInput(field, problem, "save the checkpoint again")
    missing = sorted(name for name in names if not (directory / name).is_file())
    if not missing:
        return tuple(directory / name for name in names)
    pickles = sorted(path.name for pattern in _PICKLES for path in directory.glob(pattern))
    if pickles:
        problem = f"{missing[0]} is missing and its weights are pickles ({pickles[0]}), which can run code"
        raise InvalidInput(field, problem, "save it with safe_serialization=True")
    raise InvalidInput(field, f"{missing[0]} is missing in {directory}", "give all of the checkpoint's files")
