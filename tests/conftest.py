"""What every test shares: one thread per process, and one tiny checkpoint made on the spot.

The tiny checkpoint has the shape of the real thing (tied Llama, byte-level BPE, ChatML, safetensors in
float32) and none of its size, so that the tests need neither a hub nor a download.
"""

import os
from pathlib import Path

import pytest

# Read by torch and the tokenizers when they are first imported, which happens inside the tests.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"

CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
SPECIAL_TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CORPUS = [
    "The river rose in the night and the bridge was closed by morning.",
    "Ask a short question and you may get a long answer.",
    "Seven boats, 12 oars and 345 ropes lay on the sand.",
    "What is the capital of France? Paris is the capital of France.",
    "user assistant system\nHow do I bake bread? Mix flour, water, salt and yeast.",
    "Please write two sentences about the sea. The sea is wide. The sea is deep.",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: begun last, one of them would keep a single core busy at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A seeded random Llama: 2 layers, hidden 64, 400 tokens, ChatML, end of turn ``<|im_end|>``."""
    directory = tmp_path_factory.mktemp("tiny-checkpoint")
    vocabulary = _write_tokenizer(directory)
    _write_model(directory, vocabulary)
    return directory


def _write_tokenizer(directory: Path) -> dict[str, int]:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=SPECIAL_TOKENS, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=CHATML
    )
    fast.save_pretrained(directory)
    return {token: fast.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS} | {"size": len(fast)}


def _write_model(directory: Path, vocabulary: dict[str, int]) -> None:
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(1)
    config = LlamaConfig(
        vocab_size=vocabulary["size"],
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        initializer_range=0.2,
        bos_token_id=None,
        eos_token_id=vocabulary["<|im_end|>"],
        pad_token_id=vocabulary["<|endoftext|>"],
        dtype="float32",
    )
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(
        eos_token_id=[vocabulary["<|im_end|>"]], pad_token_id=vocabulary["<|endoftext|>"]
    )
    model.save_pretrained(directory)
