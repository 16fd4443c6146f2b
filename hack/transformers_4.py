"""Whether a published checkpoint is read rightly by transformers 4.51.3, the reader inside TGI 3.3.7.

    python hack/transformers_4.py [CHECKPOINT...]    # directories, as `selfie artifacts pull` makes them

Without one, a tiny checkpoint is made and published that has all that the older reader gets wrong
as it is saved: scaled RoPE with a frequency of its own, a tokenizer class that it does not know,
a chat template beside the tokenizer's configuration. Reads each with both versions, the older one
in an environment of its own that shares this one's torch, and compares logits, rendered chats,
their ids, and the tokens that end a turn.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from environments import environment

# Both compute in float32 with the same torch; what is left is another order of the same sums.
TOLERANCE = 1e-3
CHATS = (
    [{"role": "user", "content": "What is the sea?"}],
    [
        {"role": "user", "content": "How do I bake bread?"},
        {"role": "assistant", "content": "Mix flour, water, salt and yeast. Wait, then bake."},
        {"role": "user", "content": "And without yeast? \u00dcberhaupt: wie? \U0001f35e"},
    ],
)


def main() -> int:
    """Compares; returns 1 if a checkpoint is read otherwise."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoints", nargs="*", type=Path, metavar="CHECKPOINT")
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read is not None:
        sys.stdout.write(json.dumps(read(arguments.read)))
        return 0
    older = environment("transformers-4")
    with tempfile.TemporaryDirectory() as directory:
        checkpoints = arguments.checkpoints
        if not checkpoints:
            saved, published = made_and_published(Path(directory))
            print(f"as it was saved: {told(reading(older, saved), reading(sys.executable, saved))}")
            checkpoints = [published]
        different = False
        for checkpoint in checkpoints:
            differences = told(reading(older, checkpoint), reading(sys.executable, checkpoint))
            different |= differences != SAME
            print(f"{checkpoint}: {differences}")
    return int(different)


SAME = "read the same"


def told(old: dict[str, Any], new: dict[str, Any]) -> str:
    """What differs between two readings, or that nothing does."""
    if "error" in old or "error" in new:
        return f"not read: {old.get('error') or new.get('error')}"
    texts = ("prompts", "ids", "end_ids")
    differences = [
        f"{name}: {old[name]!r} in place of {new[name]!r}" for name in texts if old[name] != new[name]
    ]
    pairs = [
        abs(one - other)
        for first, second in zip(old["logits"], new["logits"], strict=True)
        for one, other in zip(first, second, strict=True)
    ]
    farthest = max(pairs)
    print(f"  transformers {old['version']} and {new['version']}: logits differ by at most {farthest:.2e}")
    if not farthest <= TOLERANCE:
        differences.append(f"logits by up to {farthest:.3g}")
    return "; ".join(differences) or SAME


def reading(python: str | Path, checkpoint: Path) -> dict[str, Any]:
    """What the transformers of that interpreter makes of a checkpoint."""
    done = subprocess.run(
        [str(python), __file__, "--read", str(checkpoint)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
    )
    if done.returncode:
        return {"error": done.stderr.strip().rpartition("\n")[2]}
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def read(checkpoint: Path) -> dict[str, Any]:
    """Rendered chats, their ids, end tokens, and the logits after each chat and along an answer."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint, torch_dtype=torch.float32).eval()
    config = json.loads((checkpoint / "tokenizer_config.json").read_text())
    if "chat_template" not in config:
        # TGI reads no other file; transformers 4.51 does.
        raise ValueError("tokenizer_config.json has no chat_template")
    prompts = [
        tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) for chat in CHATS
    ]
    ids = [tokenizer(prompt, add_special_tokens=False)["input_ids"] for prompt in prompts]
    ends = transformers.GenerationConfig.from_pretrained(checkpoint).eos_token_id
    rows = []
    with torch.no_grad():
        for row in ids:
            answered = row + tokenizer(" The sea is wide and deep.", add_special_tokens=False)["input_ids"]
            rows.append(model(torch.tensor([answered])).logits[0, len(row) - 1 :].flatten().tolist())
    return {
        "version": transformers.__version__,
        "prompts": prompts,
        "ids": ids,
        "end_ids": ends,
        "logits": rows,
    }


def made_and_published(directory: Path) -> tuple[Path, Path]:
    """A tiny checkpoint as transformers 5 saves it, and the same as Selfie publishes it."""
    from selfie.artifacts.manifests import Manifest, publish
    from selfie.artifacts.store import open_store
    from selfie.artifacts.weights import add_directory, pull, weights_digest
    from selfie.publish.program import publish_checkpoint

    saved = directory / "saved"
    save_tiny(saved)
    store = open_store((directory / "run").as_uri())
    entries = add_directory(
        store, saved, group="checkpoint", path="rounds/00/seed/a1/checkpoint", keep_source=True
    )
    now, digest = datetime.now(UTC), weights_digest(entries)
    common = {
        "run_uid": "uid",
        "round": 0,
        "attempt": 1,
        "writer": "w",
        "started_at": now,
        "finished_at": now,
    }
    publish(store, Manifest(step="rounds/00/seed", files=entries, weights_digest=digest, **common))
    attempt = {"run_uri": store.uri, "step": "rounds/00/publish", "number": 1, "run_uid": "uid"}
    manifest = publish_checkpoint(
        store,
        {
            "attempt": attempt,
            "source": {"step": "rounds/00/seed", "digest": digest},
            "runName": "tiny",
            "round": 0,
            "baseModel": "tiny",
        },
    )
    return saved, pull(store, manifest.group("checkpoint"), directory / "weights")


def save_tiny(directory: Path) -> None:
    """A random Llama whose positions matter: RoPE with another frequency than the default, and scaled."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator([turn["content"] for chat in CHATS for turn in chat], trainer)
    turn = "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}"
    answer = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token=special[2],
        pad_token=special[0],
        chat_template=f"{{% for m in messages %}}{turn}{{% endfor %}}{answer}",
    )
    tokenizer.save_pretrained(directory)
    rope = {"rope_type": "llama3", "rope_theta": 500_000.0, "factor": 8.0, "low_freq_factor": 1.0}
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        rope_parameters=rope | {"high_freq_factor": 4.0, "original_max_position_embeddings": 32},
        initializer_range=0.3,
        eos_token_id=2,
        pad_token_id=0,
        dtype="float32",
    )
    torch.manual_seed(7)
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(eos_token_id=2, pad_token_id=0)
    model.save_pretrained(directory)


if __name__ == "__main__":
    sys.exit(main())
