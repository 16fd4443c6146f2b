"""How far is every precision mode from float64, on natural text?

    python bench/precision.py [--pairs 12] [--output FILE]

The held-out pairs of the quickstart under the embedded model, and under a copy with 1 % of noise as the
policy. What this machine does not multiply in is computed all the same: bfloat16 slowly, and TF32 by
rounding both factors of every product of a layer to its 10 bits. Errors are held against the stated bounds.
"""

import argparse
import copy
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from selfie.models.cache import default_cache
from selfie.models.chat import ChatTokenizer
from selfie.models.embedded import embedded_checkpoint
from selfie.models.loading import load_policy
from selfie.scoring.engine import Checkpoint, PreferenceEngine
from selfie.scoring.precision import Machine, Products, error_bound
from selfie.scoring.rows import Row, Wanted

PAIRS = Path(__file__).resolve().parents[1] / "examples/quickstart/heldout.jsonl"
LAMBDA = 0.5
_TF32_BITS = 13
"""Of float32's mantissa, those that TF32 does not have."""

Sums = list[tuple[float, float, float]]
"""Policy, reference, and the model extrapolated by `LAMBDA`, of each row."""


def read_rows(directory: Path, pairs: int) -> list[Row]:
    """Two rows for each of the first pairs; every fourth is one long response of all that follow."""
    chat = ChatTokenizer(directory)
    lines = [json.loads(line) for line in PAIRS.read_text().splitlines()]
    rows = []
    for index, line in enumerate(lines[:pairs]):
        prompt = chat.prompt_ids(line["prompt"]).ids
        rows += [Row(prompt, chat.response_ids(line[side])) for side in ("chosen", "rejected")]
        if index % 4 == 0:
            long = " ".join(other["chosen"] for other in lines[index : index + 8])
            rows.append(Row(prompt, chat.response_ids(long)))
    return rows


@torch.no_grad()
def plainly(policy: PreTrainedModel, reference: PreTrainedModel, rows: Sequence[Row]) -> Sums:
    """By transformers alone, every row by itself, log-probabilities in float64."""
    found = []
    for row in rows:
        ids, first = torch.tensor([row.prompt_ids + row.response_ids]), len(row.prompt_ids) - 1
        targets = torch.tensor(row.response_ids)[:, None]
        ours, theirs = (
            model(ids, use_cache=False).logits[0, first:-1].double().log_softmax(-1)
            for model in (policy, reference)
        )
        mixed = ((1 + LAMBDA) * ours - LAMBDA * theirs).log_softmax(-1)
        one, two, three = (float(each.gather(1, targets).sum()) for each in (ours, theirs, mixed))
        found.append((one, two, three))
    return found


def by_the_scorer(engine: PreferenceEngine, rows: Sequence[Row], *, fast: bool) -> Sums:
    """By the scorer, in batches."""
    wanted = Wanted((LAMBDA,), mode="fast" if fast else "exact")
    return [
        (score.policy_logprob, score.reference_logprob, score.extrapolated_logprob(0, LAMBDA))
        for score in engine.score(rows, wanted)
    ]


def in_tf32(model: PreTrainedModel) -> PreTrainedModel:
    """A copy whose layers round both factors of their products."""
    rounded = copy.deepcopy(model)
    for module in rounded.modules():
        if isinstance(module, nn.Linear):
            module.weight = nn.Parameter(_tf32(module.weight.detach()), requires_grad=False)
            module.register_forward_pre_hook(lambda _module, inputs: (_tf32(inputs[0]),))
    return rounded


def _tf32(values: Tensor) -> Tensor:
    bits = values.contiguous().view(torch.int32)
    half = 1 << (_TF32_BITS - 1)
    return ((bits + half) & ~((1 << _TF32_BITS) - 1)).view(torch.float32)


def figures(products: Products, rows: Sequence[Row], found: Sums, true: Sums) -> dict[str, float]:
    """Largest errors in nats, and the largest share that one of them takes of its bound."""
    both = list(zip(found, true, strict=True))
    errors = torch.tensor([[abs(a - b) for a, b in zip(*each, strict=True)] for each in both])
    strengths, lengths = (0.0, 0.0, LAMBDA), [len(row.response_ids) for row in rows]
    bounds = torch.tensor(
        [[error_bound(tokens, lam=lam, products=products) for lam in strengths] for tokens in lengths]
    )
    policy, reference, extrapolated = errors.amax(0).tolist()
    return {
        "policy": policy,
        "reference": reference,
        "extrapolated": extrapolated,
        "log_ratio": max(abs((a[0] - a[1]) - (b[0] - b[1])) for a, b in both),
        "largest_share_of_bound": float((errors / bounds).max()),
        "bound_at_200_tokens": error_bound(200, products=products),
    }


def main() -> None:
    """Measures and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--output", type=Path, default=Path("bench/precision.json"))
    options = parser.parse_args()
    directory = embedded_checkpoint("smollm2-135m-instruct", default_cache())
    reference, policy = load_policy(directory), load_policy(directory)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(1 + 0.01 * torch.randn_like(parameter))
    rows = read_rows(directory, options.pairs)
    true = plainly(copy.deepcopy(policy).double(), copy.deepcopy(reference).double(), rows)
    rounded = plainly(in_tf32(policy), in_tf32(reference), rows)
    checkpoints = Checkpoint(policy, "policy"), Checkpoint(reference, "reference")
    engine = PreferenceEngine(*checkpoints, machine=Machine(bfloat16=True))
    found = {
        "rows": len(rows),
        "tokens": [len(row.response_ids) for row in rows],
        "largest_sum": max(abs(value) for sums in true for value in sums),
        "products": {
            "float32": figures("float32", rows, by_the_scorer(engine, rows, fast=False), true),
            "tf32": figures("tf32", rows, rounded, true),
            "bfloat16": figures("bfloat16", rows, by_the_scorer(engine, rows, fast=True), true),
        },
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(found, indent=2) + "\n")
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
