"""Other ways to the same log-probabilities: each gets pairs of token ids, and gives back four sums of each.

All are given the same weights, ids, threads and allocator. What cannot be imported is named with the reason.
"""

import copy
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import torch
from scorer_workload import Pair
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from selfie.scoring.engine import PreferenceEngine
from selfie.scoring.precision import Mode
from selfie.scoring.rows import Row, Wanted

Sums = list[float]
"""Policy and reference of the chosen response, then of the rejected one, pair after pair."""

Peer = Callable[[Sequence[Pair]], Sums]

NOT_TO_BE_HAD = {
    "vLLM on CPU": "its packages on PyPI are built for CUDA; its source would have to be compiled",
    "llama.cpp's server": "it tells log-probabilities of the tokens that it draws, and of no others",
}
"""Peers that are left out, and why."""


def ours(engine: PreferenceEngine, mode: Mode) -> Peer:
    """The scorer itself."""

    def score(pairs: Sequence[Pair]) -> Sums:
        rows = [Row(pair.prompt, response) for pair in pairs for response in pair[1:]]
        found = engine.score(rows, Wanted(mode=mode))
        return [value for each in found for value in (each.policy_logprob, each.reference_logprob)]

    return score


def naive(policy: PreTrainedModel, reference: PreTrainedModel, batch: int, *, keep: bool = False) -> Peer:
    """Both models on right-padded batches in the data's order, log-softmax of all logits, then gather.

    With ``keep`` transformers projects no more positions than the longest response has.
    """

    @torch.no_grad()
    def score(pairs: Sequence[Pair]) -> Sums:
        found = [
            _interleaved([_sums(model, chunk, keep=keep) for model in (policy, reference)])
            for chunk in _chunks(pairs, batch)
        ]
        return [value for sums in found for value in sums]

    return score


def _sums(model: PreTrainedModel, pairs: Sequence[Pair], *, keep: bool) -> list[float]:
    rows = [(pair.prompt, response) for pair in pairs for response in pair[1:]]
    ids = pad_sequence([torch.tensor(prompt + response) for prompt, response in rows], batch_first=True)
    options: dict[str, Any] = {}
    first = min(len(prompt) for prompt, _ in rows) - 1 if keep else 0
    if keep:
        options["logits_to_keep"] = ids.shape[1] - first
    logprobs = model(input_ids=ids, use_cache=False, **options).logits[:, :-1].log_softmax(-1)
    picked = logprobs.gather(-1, ids[:, first + 1 :, None])[..., 0]
    return [
        float(picked[index, len(prompt) - 1 - first :][: len(response)].double().sum())
        for index, (prompt, response) in enumerate(rows)
    ]


def trl(policy: PreTrainedModel, reference: PreTrainedModel, batch: int) -> Peer:
    """What TRL's DPO trainer precomputes the reference with, for both models."""
    from trl import DPOTrainer
    from trl.trainer.utils import add_fused_lm_head

    models = [copy.deepcopy(model) for model in (policy, reference)]
    for model in models:
        add_fused_lm_head(model)

    def score(pairs: Sequence[Pair]) -> Sums:
        found: Sums = []
        for chunk in _chunks(pairs, batch):
            inputs = _stacked(chunk)
            sums = [_of_trainer(DPOTrainer, model, inputs) for model in models]
            found += _interleaved(sums)
        return found

    return score


def _of_trainer(trainer: Any, model: PreTrainedModel, inputs: dict[str, Tensor]) -> list[float]:
    """By the trainer's own method, on as much of a trainer as it looks at."""
    accelerator = SimpleNamespace(device=torch.device("cpu"), autocast=nullcontext)
    arguments = SimpleNamespace(gradient_checkpointing_kwargs=None)
    stand_in = SimpleNamespace(
        accelerator=accelerator, model=model, ref_model=model, args=arguments, ld_alpha=None
    )
    chosen, rejected = trainer.compute_ref_log_probs(stand_in, model, inputs)
    return [float(value) for pair in zip(chosen, rejected, strict=True) for value in pair]


def lm_eval(
    policy: PreTrainedModel, reference: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, batch: int
) -> Peer:
    """The evaluation harness's model for transformers, on token ids; it sorts by length itself."""
    from lm_eval.models.huggingface import HFLM

    models = [
        HFLM(pretrained=model, tokenizer=tokenizer, batch_size=2 * batch, max_length=8192)
        for model in (policy, reference)
    ]

    def score(pairs: Sequence[Pair]) -> Sums:
        rows = [
            (("", str(index)), list(pair.prompt), list(response))
            for index, pair in enumerate(pairs)
            for response in pair[1:]
        ]
        sums = [
            [float(value) for value, _ in model._loglikelihood_tokens(rows, disable_tqdm=True)]
            for model in models
        ]
        return _interleaved(sums)

    return score


def rewardbench(
    policy: PreTrainedModel, reference: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, batch: int
) -> Peer:
    """RewardBench's path for DPO models; its module alone, as the package imports far more than is needed."""
    place = importlib.util.find_spec("rewardbench")
    if place is None or not place.submodule_search_locations:
        raise ModuleNotFoundError("No module named 'rewardbench'")
    spec = importlib.util.spec_from_file_location(
        "rewardbench_dpo", f"{place.submodule_search_locations[0]}/dpo.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    judge = module.DPOInference(policy, reference, tokenizer, SimpleNamespace(device=torch.device("cpu")))

    @torch.no_grad()
    def score(pairs: Sequence[Pair]) -> Sums:
        found: Sums = []
        for chunk in _chunks(pairs, batch):
            inputs = _sides(chunk)
            sums = []
            for model in (policy, reference):
                chosen, rejected, _, _ = judge.concatenated_forward(model, inputs)
                sums.append([float(value) for pair in zip(chosen, rejected, strict=True) for value in pair])
            found += _interleaved(sums)
        return found

    return score


def _stacked(pairs: Sequence[Pair]) -> dict[str, Tensor]:
    """Chosen ones, then rejected ones, padded on the right, as TRL's collator has them."""
    rows = [(pair.prompt, pair.chosen) for pair in pairs] + [(pair.prompt, pair.rejected) for pair in pairs]
    ids = [torch.tensor(prompt + response) for prompt, response in rows]
    mask = [torch.tensor([0] * len(prompt) + [1] * len(response)) for prompt, response in rows]
    return {
        "input_ids": pad_sequence(ids, batch_first=True),
        "attention_mask": pad_sequence([torch.ones_like(row) for row in ids], batch_first=True),
        "completion_mask": pad_sequence(mask, batch_first=True),
    }


def _sides(pairs: Sequence[Pair]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for side in ("chosen", "rejected"):
        ids = [torch.tensor(pair.prompt + getattr(pair, side)) for pair in pairs]
        labels = [torch.tensor((-100,) * len(pair.prompt) + getattr(pair, side)) for pair in pairs]
        found[f"{side}_input_ids"] = pad_sequence(ids, batch_first=True)
        found[f"{side}_attention_mask"] = pad_sequence(
            [torch.ones_like(row) for row in ids], batch_first=True
        )
        found[f"{side}_labels"] = pad_sequence(labels, batch_first=True, padding_value=-100)
    return found


def _chunks(pairs: Sequence[Pair], size: int) -> Iterator[Sequence[Pair]]:
    return (pairs[start : start + size] for start in range(0, len(pairs), size))


def _interleaved(sums: Sequence[Sequence[float]]) -> list[float]:
    return [value for both in zip(*sums, strict=True) for value in both]
