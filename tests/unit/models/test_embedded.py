"""The conversion, on a GGUF file with the quirks of the real one: tied, 8-bit embedding, "smollm"."""

import json
from pathlib import Path

import gguf
import numpy as np
import pytest

from selfie.models.chat import ChatTokenizer
from selfie.models.embedded import convert_gguf
from selfie.models.loading import load_policy

HEADS, KEY_HEADS, LAYERS = 4, 2, 2
NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


@pytest.fixture(scope="module")
def converted(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("gguf")
    write_gguf(tiny_checkpoint, directory / "tiny.gguf")
    convert_gguf(directory / "tiny.gguf", directory / "converted")
    return directory / "converted"


def write_gguf(checkpoint: Path, path: Path) -> None:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("Tiny")
    writer.add_context_length(2048)
    writer.add_embedding_length(64)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(128)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_HEADS)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(16)
    writer.add_layer_norm_rms_eps(1e-6)
    add_tokenizer(writer, checkpoint)
    add_weights(writer, checkpoint)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_tokenizer(writer: gguf.GGUFWriter, checkpoint: Path) -> None:
    model = json.loads((checkpoint / "tokenizer.json").read_text())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if token.startswith("<|") else 1 for token in tokens])
    writer.add_token_merges([" ".join(merge) for merge in model["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_chat_template((checkpoint / "chat_template.jinja").read_text())


def add_weights(writer: gguf.GGUFWriter, checkpoint: Path) -> None:
    from safetensors.numpy import load_file

    weights = load_file(checkpoint / "model.safetensors")
    embedding = gguf.quants.quantize(weights["model.embed_tokens.weight"], gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("token_embd.weight", embedding, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("output_norm.weight", weights["model.norm.weight"])
    for layer in range(LAYERS):
        for ours, theirs in NAMES.items():
            weight = weights[f"model.layers.{layer}.{ours}.weight"]
            heads = {"attn_q": HEADS, "attn_k": KEY_HEADS}.get(theirs)
            writer.add_tensor(f"blk.{layer}.{theirs}.weight", interleave(weight, heads) if heads else weight)


def interleave(weight: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp rotates neighbouring rows of a head, transformers its two halves."""
    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, weight.shape[1])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(weight.shape))


def test_the_converted_model_computes_what_the_original_does(tiny_checkpoint: Path, converted: Path):
    import torch
    from safetensors.numpy import load_file

    original, found = load_policy(tiny_checkpoint), load_policy(converted)
    stored = load_file(tiny_checkpoint / "model.safetensors")["model.embed_tokens.weight"]
    kind = gguf.GGMLQuantizationType.Q8_0
    rounded = gguf.quants.dequantize(gguf.quants.quantize(stored, kind), kind)
    with torch.no_grad():
        original.model.embed_tokens.weight.copy_(torch.from_numpy(rounded))
        ids = torch.arange(3, 40).unsqueeze(0)
        assert torch.equal(found(ids).logits, original(ids).logits)


def test_a_plain_checkpoint_comes_out(converted: Path):
    config = json.loads((converted / "config.json").read_text())
    assert "quantization_config" not in config
    assert (config["dtype"], config["tie_word_embeddings"], config["rms_norm_eps"]) == ("float32", True, 1e-6)
    assert (config["eos_token_id"], config["pad_token_id"]) == (2, 0)
    assert json.loads((converted / "generation_config.json").read_text())["eos_token_id"] == [2]


def test_the_tokenizer_splits_digits_which_gguf_does_not_say(converted: Path):
    backend = json.loads((converted / "tokenizer.json").read_text())
    assert backend["pre_tokenizer"]["pretokenizers"][0] == {"type": "Digits", "individual_digits": True}
    tokenizer = ChatTokenizer(converted)
    pieces = [tokenizer.decode_response([token]) for token in tokenizer.response_ids("12 oars and 345 ropes")]
    assert [piece for piece in pieces if piece.strip().isdigit()] == list("12345")


def test_texts_chats_and_control_tokens_come_out_as_they_went_in(tiny_checkpoint: Path, converted: Path):
    original, found = ChatTokenizer(tiny_checkpoint), ChatTokenizer(converted)
    chat = [{"role": "user", "content": "Seven boats, oars\n\nand “ropes” — naïve café 👍🏽"}]
    assert found.template_digest == original.template_digest
    assert found.prompt_ids(chat) == original.prompt_ids(chat)
    assert found.decode_response(found.response_ids(chat[0]["content"])) == chat[0]["content"]
    assert found.end_of_turn_ids == {2}
    assert found.pad_id == 0
