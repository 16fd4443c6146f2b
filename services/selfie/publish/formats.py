"""A checkpoint's small files, such as readers of transformers 4 and 5 understand alike.

Each function takes a file's JSON as it was saved and returns what is published. Nothing that
transformers 5 reads is taken away, so that it loads the same model from both.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Json = dict[str, Any]

# What transformers 5 notes about the process that saved a tokenizer; others would pass it on.
_LOCAL_KEYS = ("backend", "is_local", "local_files_only")
_TOKEN_KEYS = ("bos_token_id", "pad_token_id", "decoder_start_token_id", "transformers_version")


def published_config(config: Mapping[str, Any]) -> Json:
    """``config.json`` with RoPE and dtype also under their names of transformers 4.

    Without ``rope_theta`` that reader takes 10000, without ``rope_scaling`` none, and says nothing.
    """
    result = {**config, **_old_rope(config.get("rope_parameters"))}
    dtype = config.get("dtype") or config.get("torch_dtype")
    if dtype is not None:
        result |= {"dtype": dtype, "torch_dtype": dtype}
    return result


def published_tokenizer_config(config: Mapping[str, Any], template: str) -> Json:
    """``tokenizer_config.json`` with a class that transformers 4 has and the chat template inside.

    Text Generation Inference reads no ``chat_template.jinja``.
    """
    result = {key: value for key, value in config.items() if key not in _LOCAL_KEYS}
    if config.get("tokenizer_class") in (None, "TokenizersBackend"):
        result["tokenizer_class"] = "PreTrainedTokenizerFast"
    if isinstance(config.get("extra_special_tokens"), list):
        result["additional_special_tokens"] = result.pop("extra_special_tokens")
    result["chat_template"] = template
    return result


def published_generation_config(config: Mapping[str, Any], end_ids: Sequence[int], pad_id: int) -> Json:
    """``generation_config.json`` with all end tokens as a list, which is the form engines read.

    Sampling parameters are left out: an engine would apply those that a request does not name, so
    that a run's samples would not be drawn as its specification says.
    """
    result = {key: config[key] for key in _TOKEN_KEYS if config.get(key) is not None}
    return {"pad_token_id": pad_id, **result, "eos_token_id": list(end_ids)}


def _old_rope(rope: Any) -> Json:
    if not isinstance(rope, Mapping):
        return {}
    if "full_attention" in rope:
        # Gemma 3: two kinds of layers, each with a frequency of its own.
        local = rope.get("sliding_attention", {}).get("rope_theta")
        return _old_rope(rope["full_attention"]) | ({"rope_local_base_freq": local} if local else {})
    scaling = {
        key: value for key, value in rope.items() if key not in ("rope_theta", "partial_rotary_factor")
    }
    old: Json = {"rope_scaling": None if scaling.get("rope_type", "default") == "default" else scaling}
    return old | {key: rope[key] for key in ("rope_theta", "partial_rotary_factor") if key in rope}
