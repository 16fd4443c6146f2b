"""The arithmetic of models, against figures that were worked out by hand (P = 200, two R = 200)."""

import json

import pytest

from selfie.errors import InvalidInput
from selfie.runs.estimates import flops
from selfie.runs.estimates.memory import trainer_footprint
from selfie.runs.estimates.shapes import COMMON, ModelShape, shape_by_name, shape_of

SMOLLM = COMMON["SmolLM2-135M"]
CONFIG = {
    "model_type": "llama",
    "hidden_size": 576,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "head_dim": 64,
    "intermediate_size": 1536,
    "vocab_size": 49152,
    "tie_word_embeddings": True,
}


def giga(operations: float) -> float:
    return round(operations / 1e9, 1)


def test_a_token_costs_twice_the_parameters_of_the_layers_matrices():
    assert SMOLLM.layer_matrix_parameters == 3_538_944
    assert round(flops.blocks(SMOLLM, 1) / 1e6, 1) == 212.3
    assert round(flops.head(SMOLLM, 1) / 1e6, 1) == 56.6
    assert flops.attention(SMOLLM, 1, 1) == 69_120


def test_two_whole_rows_cost_what_the_plain_way_costs():
    assert giga(flops.blocks(SMOLLM, 800)) == 169.9
    assert giga(flops.attention(SMOLLM, 800, 200)) == 11.1
    assert giga(flops.forward(SMOLLM, 2, 400)) == pytest.approx(181.0, abs=0.15)  # 169.9 + 11.1
    assert giga(flops.forward(SMOLLM, 2, 400) + flops.head(SMOLLM, 800)) == 226.2


def test_a_scored_pair_has_its_prompt_once_and_its_head_on_responses_alone():
    found = flops.scored(SMOLLM, 200, 200, 2)
    # By hand 159.7 for 600 tokens; the last token of either response predicts nothing and is left out.
    by_hand = 127.4 + 9.7 + 22.6
    assert giga(found + flops.blocks(SMOLLM, 2) + flops.attention(SMOLLM, 2, 300)) == round(by_hand, 1)
    assert found < by_hand * 1e9


def test_an_architecture_that_cannot_share_prompts_pays_for_whole_rows():
    alone = shape_of({**CONFIG, "model_type": "gpt_neox"}, field="m")
    assert giga(flops.scored(alone, 200, 200, 2)) == 203.6


def test_a_trained_pair_costs_three_forwards_and_four_heads():
    assert giga(flops.learned(SMOLLM, 2, 400, 400, kind="full")) == pytest.approx(543 + 90.6, abs=0.5)
    # The stock trainer's defaults, with activations computed again: 724 + 90.6.
    assert giga(flops.learned(SMOLLM, 2, 400, 400, kind="checkpointed")) == pytest.approx(724 + 90.6, abs=0.5)
    adapters = flops.learned(SMOLLM, 2, 400, 400, kind="adapters")
    assert adapters < flops.learned(SMOLLM, 2, 400, 400, kind="full")


def test_sampling_computes_a_prompt_once_and_every_other_token_of_each_response():
    prefill, decoding = flops.sampled(SMOLLM, 200, 200, 2)
    assert prefill == flops.forward(SMOLLM, 1, 200) + flops.head(SMOLLM, 1)
    assert decoding == pytest.approx(
        flops.blocks(SMOLLM, 398) + flops.attention(SMOLLM, 398, 300) + flops.head(SMOLLM, 398)
    )


def test_parameters_are_those_of_the_checkpoint():
    assert SMOLLM.parameters == 134_515_008
    assert SMOLLM.weight_bytes == 538_060_032


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("SmolLM2-360M", 361_821_120),
        ("Qwen2.5-0.5B", 494_000_000),
        ("Llama-3.2-1B", 1_235_814_400),
        ("SmolLM2-1.7B", 1_711_376_384),
        ("Qwen2.5-3B", 3_086_000_000),
        ("Mistral-7B", 7_241_732_096),
        ("Llama-3.1-8B", 8_030_261_248),
        ("Qwen2.5-14B", 14_770_000_000),
        ("Qwen2.5-32B", 32_764_000_000),
        ("Llama-3.1-70B", 70_553_706_496),
    ],
)
def test_common_models_have_the_size_that_their_publishers_state(name, parameters):
    assert COMMON[name].parameters == pytest.approx(parameters, rel=1e-4)


def test_a_configuration_gives_the_shape():
    found = shape_of(CONFIG, field="spec.model")
    assert found == SMOLLM
    nested = shape_of({"text_config": {**CONFIG, "max_position_embeddings": 64}}, field="spec.model")
    assert nested.context == 64


def test_without_their_own_numbers_heads_are_all_alike():
    plain = {key: CONFIG[key] for key in CONFIG if key not in ("num_key_value_heads", "head_dim")}
    found = shape_of(plain, field="spec.model")
    assert (found.kv_heads, found.head_size) == (9, 64)


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({**CONFIG, "hidden_size": None}, "has no hidden_size"),
        ({**CONFIG, "num_experts": 64}, "mixture of experts"),
        (json.loads("{}"), "has no num_attention_heads"),
    ],
)
def test_a_model_that_cannot_be_estimated_is_refused_by_its_field(config, problem):
    with pytest.raises(InvalidInput, match=problem) as refused:
        shape_of(config, field="spec.model")
    assert refused.value.field == "spec.model"


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("hf://alignment-handbook/zephyr-7b-sft-full", "Mistral-7B"),
        ("hf://Qwen/Qwen2.5-0.5B-Instruct", "Qwen2.5-0.5B"),
        ("builtin://smollm2-135m-instruct", "SmolLM2-135M"),
        ("s3://models/llama-3.1-70b/", "Llama-3.1-70B"),
        ("hf://mistralai/Mixtral-8x7B", None),
        ("hf://openai-community/gpt2", None),
    ],
)
def test_a_name_that_tells_a_size_is_likened_to_a_common_model(uri, name):
    found = shape_by_name(uri)
    assert (found and found[0]) == name


def test_a_trainer_holds_five_copies_with_all_weights_and_little_more_than_two_with_adapters():
    whole = trainer_footprint(SMOLLM, tokens=0).held
    adapted = trainer_footprint(SMOLLM, tokens=0, rank=16).held
    assert whole == 5 * SMOLLM.weight_bytes
    assert 2 * SMOLLM.weight_bytes < adapted < 2.2 * SMOLLM.weight_bytes


def test_activations_that_are_computed_again_take_less():
    kept = trainer_footprint(SMOLLM, tokens=1000).passing
    assert trainer_footprint(SMOLLM, tokens=1000, checkpointed=True).passing < kept


def test_adapters_have_both_sizes_of_every_matrix():
    tiny = ModelShape(
        layers=1, hidden=2, heads=1, kv_heads=1, head_size=2, intermediate=3, vocabulary=5, tied=True
    )
    assert tiny.adapter_parameters(1) == 4 * (2 + 2) + 3 * (2 + 3)
