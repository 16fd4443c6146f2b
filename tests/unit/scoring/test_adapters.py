"""A policy that is an adapter of its reference, against the same adapter merged into the weights."""

import copy
import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from selfie.errors import FailedPrecondition, InvalidInput
from selfie.models.loading import load_policy
from selfie.scoring.adapters import read_adapter
from selfie.scoring.engine import Checkpoint, PreferenceEngine
from selfie.scoring.loading import Weights, load_scorer
from selfie.scoring.precision import Machine, error_bound
from selfie.scoring.prompts import PromptCache
from selfie.scoring.rows import Row, Wanted

# peft asks transformers by a name that transformers is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
ROWS = [
    Row(tuple(range(5, 30)), tuple(range(40, 60))),
    Row(tuple(range(5, 30)), tuple(range(70, 77))),
    Row((9, 8), (7,)),
]


def write_adapter(base: Path, directory: Path, **settings: object) -> torch.nn.Module:
    """Saves an adapter with both factors filled, and returns the model with it merged in."""
    torch.manual_seed(1)
    options = {"r": 4, "lora_alpha": 8, "target_modules": ALL} | settings
    adapted = get_peft_model(load_policy(base), LoraConfig(**options))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.05)
    adapted.save_pretrained(directory)
    merged: torch.nn.Module = copy.deepcopy(adapted).merge_and_unload()
    return merged.eval()


@pytest.mark.parametrize(
    "settings",
    [{}, {"target_modules": ["v_proj", "up_proj"]}, {"use_rslora": True, "target_modules": ["q_proj"]}],
    ids=["all projections", "the second of a fused pair", "another scale"],
)
def test_an_adapter_scores_as_if_it_were_merged(tiny_checkpoint: Path, tmp_path: Path, settings):
    merged = write_adapter(tiny_checkpoint, tmp_path, **settings)
    base = load_policy(tiny_checkpoint)
    separate = PreferenceEngine(
        Checkpoint(merged, "a" * 64), Checkpoint(load_policy(tiny_checkpoint), "b" * 64)
    )
    seen: list[int] = []
    base.get_input_embeddings().register_forward_hook(lambda *_: seen.append(1))
    adapter = read_adapter(tmp_path, base)
    together = PreferenceEngine(Checkpoint(base, "a" * 64, adapter), Checkpoint(base, "b" * 64))
    wanted = Wanted((0.5,), divergence=True)
    seen.clear()
    found = together.score(ROWS, wanted)
    assert len(seen) == 1
    for one, two in zip(found, separate.score(ROWS, wanted), strict=True):
        bound = 2 * error_bound(one.tokens)
        assert one.policy_logprob == pytest.approx(two.policy_logprob, abs=bound)
        assert one.reference_logprob == pytest.approx(two.reference_logprob, abs=bound)
        assert one.policy_logprob != pytest.approx(one.reference_logprob, abs=bound)
        assert one.divergence == pytest.approx(two.divergence, abs=1e-5)


def test_an_adapters_prompts_are_kept_apart_from_its_references(tiny_checkpoint: Path, tmp_path: Path):
    write_adapter(tiny_checkpoint, tmp_path)
    base = load_policy(tiny_checkpoint)
    policy, reference = Checkpoint(base, "a" * 64, read_adapter(tmp_path, base)), Checkpoint(base, "b" * 64)
    engine = PreferenceEngine(policy, reference, prompts=PromptCache(1 << 24))
    wanted = Wanted(keep_prompts=True)
    first, again = engine.score(ROWS, wanted), engine.score(ROWS[::-1], wanted)[::-1]
    for one, two in zip(first, again, strict=True):
        assert one.policy_logprob == pytest.approx(two.policy_logprob, abs=2 * error_bound(one.tokens))
        assert one.reference_logprob == pytest.approx(two.reference_logprob, abs=2 * error_bound(one.tokens))
    assert engine.policy_tokens(ROWS)[0].sum() == pytest.approx(first[0].policy_logprob, abs=1e-3)


def test_an_adapter_is_added_in_rounded_products_too(tiny_checkpoint: Path, tmp_path: Path):
    write_adapter(tiny_checkpoint, tmp_path)
    base = load_policy(tiny_checkpoint)
    policy, reference = Checkpoint(base, "a" * 64, read_adapter(tmp_path, base)), Checkpoint(base, "b" * 64)
    engine = PreferenceEngine(policy, reference, prompts=PromptCache(1 << 24), machine=Machine(bfloat16=True))
    exact, wanted = engine.score(ROWS, Wanted()), Wanted(mode="fast", keep_prompts=True)
    for found in (engine.score(ROWS, wanted), engine.score(ROWS, wanted)):
        for one, two in zip(exact, found, strict=True):
            bound = two.arithmetic.error_bound(one.tokens)
            assert one.policy_logprob == pytest.approx(two.policy_logprob, abs=bound)
            assert one.reference_logprob == pytest.approx(two.reference_logprob, abs=bound)
            assert one.policy_logprob != two.policy_logprob


def test_a_scorer_takes_an_adapter_for_its_policy_and_the_tokenizer_of_its_reference(
    tiny_checkpoint: Path, tmp_path: Path
):
    write_adapter(tiny_checkpoint, tmp_path)
    scorer = load_scorer(Weights(tmp_path), Weights(tiny_checkpoint), device="cpu", token_budget=100)
    assert scorer.provenance.policy_digest != scorer.provenance.reference_digest
    assert scorer.engine.score(ROWS, Wanted())[0].policy_logprob < 0


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"peft_type": "IA3"}, "not LORA"),
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "bias"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
    ],
)
def test_what_is_more_than_a_low_rank_update_is_refused(
    tiny_checkpoint: Path, tmp_path: Path, change, problem: str
):
    write_adapter(tiny_checkpoint, tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | change))
    with pytest.raises(InvalidInput, match=problem):
        read_adapter(tmp_path, load_policy(tiny_checkpoint))


def test_factors_that_fit_nothing_are_refused_by_name(tiny_checkpoint: Path, tmp_path: Path):
    write_adapter(tiny_checkpoint, tmp_path)
    path = tmp_path / "adapter_model.safetensors"
    tensors = load_file(path)
    name = next(key for key in tensors if "lora_A" in key)
    save_file(tensors | {name: tensors[name][:, :-1].contiguous()}, path)
    with pytest.raises(InvalidInput, match="shapes"):
        read_adapter(tmp_path, load_policy(tiny_checkpoint))
    save_file(tensors | {"base_model.model.lm_head.lora_A.weight": tensors[name].clone()}, path)
    with pytest.raises(InvalidInput, match="lm_head"):
        read_adapter(tmp_path, load_policy(tiny_checkpoint))


def test_an_adapter_on_an_architecture_that_is_computed_whole_is_refused(
    tiny_checkpoint: Path, tmp_path: Path
):
    write_adapter(tiny_checkpoint, tmp_path)
    base = load_policy(tiny_checkpoint)
    adapter = read_adapter(tmp_path, base)
    base.config.sliding_window = 8
    with pytest.raises(FailedPrecondition) as caught:
        PreferenceEngine(Checkpoint(base, "a" * 64, adapter), Checkpoint(base, "b" * 64))
    assert caught.value.reason == "UnsupportedAdapter"
