"""The one place where weights become a model.

Policy and reference, scorer and trainer are compared with each other, so all of them are loaded
here: from safetensors alone, without remote code, with the same attention kernel, every weight
accounted for. A judge's margins are smaller than bfloat16's error, hence float32 by default.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from selfie.errors import DataCorrupted

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Dtype = Literal["float32", "bfloat16", "float16"]
Attention = Literal["sdpa", "eager", "flash_attention_2"]


def load_policy(
    directory: Path, *, dtype: Dtype = "float32", attention: Attention = "sdpa", device: str = "cpu"
) -> "PreTrainedModel":
    """The causal language model in ``directory``, in evaluation mode on ``device``.

    Two models are comparable only if ``dtype`` and ``attention`` are the same for both. Raises
    `DataCorrupted` when the files lack a weight that the architecture has, have one that it
    lacks, or have one of another shape: transformers would go on with random numbers instead.
    """
    import torch
    from transformers import AutoModelForCausalLM

    model, loading = AutoModelForCausalLM.from_pretrained(
        directory,
        dtype=getattr(torch, dtype),
        attn_implementation=attention,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    _check_complete(directory, loading)
    placed: PreTrainedModel = model.to(device).eval()
    return placed


def _check_complete(directory: Path, loading: dict[str, object]) -> None:
    wrong = {
        kind: loading[kind]
        for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")
        if loading.get(kind)
    }
    if wrong:
        raise DataCorrupted(f"the weights in {directory} do not fit its config.json: {wrong}")
