"""Shared prompts against rows computed whole, on small models of several architectures."""

import copy

import pytest
import torch
from structlog.testing import capture_logs
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from selfie.scoring.backbones import Lane, PaddedRows, SharedPrompts, backbone_for
from selfie.scoring.rows import Row

SMALL = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
ROWS = [
    *(Row(tuple(range(2, 40)), tuple(range(start, start + 20))) for start in (3, 9, 21)),
    Row((7, 8), (9,)),
    Row((7, 8), (10, 11)),
    Row((5,), tuple(range(1, 60))),
]


def model_of(architecture: str, **settings: object) -> PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(architecture, **SMALL, **settings)
    return AutoModelForCausalLM.from_config(config, attn_implementation="sdpa").eval()


def lanes(*models: PreTrainedModel) -> list[Lane]:
    return [Lane(model, str(index)) for index, model in enumerate(models)]


@pytest.mark.parametrize("architecture", ["llama", "mistral", "qwen2", "qwen3"])
@torch.no_grad()
def test_sharing_a_prompt_changes_no_state(architecture: str):
    settings = {"sliding_window": None} if architecture == "mistral" else {}
    two = lanes(
        model_of(architecture, **settings), model_of(architecture, tie_word_embeddings=True, **settings)
    )
    plain = PaddedRows().states(two, ROWS)
    backbone = backbone_for(two)
    assert backbone.shares_prompts
    for shared, whole in zip(backbone.states(two, ROWS), plain, strict=True):
        torch.testing.assert_close(shared, whole, rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_model_that_is_set_up_for_sharing_still_computes_whole_rows_as_before():
    one = lanes(model_of("llama"))
    before = PaddedRows().states(one, ROWS)
    backbone_for(one)
    torch.testing.assert_close(PaddedRows().states(one, ROWS), before, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "model",
    [
        model_of("mistral", sliding_window=8),
        model_of("phi3", pad_token_id=0),
        model_of("llama", rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}),
    ],
    ids=["sliding window", "unknown architecture", "rotation by length"],
)
@torch.no_grad()
def test_what_is_not_known_to_be_fit_takes_the_plain_way(model: PreTrainedModel):
    with capture_logs() as logs:
        backbone = backbone_for(lanes(model_of("llama"), model))
    assert not backbone.shares_prompts
    assert [entry["event"] for entry in logs] == ["prompts are not shared"]
    assert sum(map(len, backbone.batches(ROWS, 100))) == len(ROWS)


@torch.no_grad()
def test_sharing_that_changes_the_result_is_not_used():
    strange = copy.deepcopy(model_of("llama"))
    # A layer that looks at the whole sequence, which no allow-list can foresee.
    strange.base_model.norm.register_forward_hook(
        lambda _module, _inputs, states: states - states.mean(1, keepdim=True)
    )
    with capture_logs() as logs:
        backbone = backbone_for(lanes(strange))
    assert not backbone.shares_prompts
    assert logs[0]["log_level"] == "warning"


@torch.no_grad()
def test_no_response_sees_another():
    one = lanes(model_of("llama"))
    backbone = backbone_for(one)
    assert isinstance(backbone, SharedPrompts)
    (together,) = backbone.states(one, ROWS[:3])
    changed = [ROWS[0], Row(ROWS[1].prompt_ids, (60,) * 20), ROWS[2]]
    (beside_another,) = backbone.states(one, changed)
    torch.testing.assert_close(together[:20], beside_another[:20], rtol=0, atol=0)
    torch.testing.assert_close(together[40:], beside_another[40:], rtol=0, atol=0)
