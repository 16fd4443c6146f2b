"""How fast is exact preference scoring, beside the plain way with transformers?

    python bench/scoring.py [--rounds 5] [--pairs 16] [--output bench/results/scoring.json]

Both sides score the same pairs with the same two float32 checkpoints, threads and allocator: the
embedded model, and a copy with 1 % of noise as the policy. The plain way runs both models on
right-padded batches in the data's order, takes the log-softmax of all logits, and gathers. Rounds
are interleaved; figures are medians over them, and the ratio is the median of the rounds' ratios.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from selfie.cli.__main__ import cache_dir
from selfie.models.chat import ChatTokenizer
from selfie.models.embedded import embedded_checkpoint
from selfie.models.loading import load_policy
from selfie.scoring.engine import Checkpoint, PreferenceEngine
from selfie.scoring.rows import Row, Wanted

PAIRS = Path(__file__).resolve().parents[1] / "examples/quickstart/heldout.jsonl"
BATCH = 8


def read_rows(directory: Path, pairs: int) -> list[Row]:
    """Two rows for each of the first ``pairs`` held-out pairs of the quickstart."""
    chat = ChatTokenizer(directory)
    rows = []
    for line in PAIRS.read_text().splitlines()[:pairs]:
        pair = json.loads(line)
        prompt = chat.prompt_ids(pair["prompt"]).ids
        rows += [Row(prompt, chat.response_ids(pair[side])) for side in ("chosen", "rejected")]
    return rows


@torch.no_grad()
def plainly(models: list[torch.nn.Module], rows: list[Row]) -> list[list[float]]:
    """Summed log-probabilities of each row under each model, the way that most code does it."""
    sums: list[list[float]] = []
    for model in models:
        found: list[float] = []
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            ids = torch.nn.utils.rnn.pad_sequence(
                [torch.tensor(row.prompt_ids + row.response_ids) for row in batch], batch_first=True
            )
            logprobs = model(input_ids=ids, use_cache=False).logits[:, :-1].log_softmax(-1)
            picked = logprobs.gather(-1, ids[:, 1:, None])[..., 0]
            for index, row in enumerate(batch):
                first = len(row.prompt_ids) - 1
                found.append(float(picked[index, first : first + len(row.response_ids)].double().sum()))
        sums.append(found)
    return sums


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Measures and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--output", type=Path, default=Path("bench/results/scoring.json"))
    options = parser.parse_args()

    directory = embedded_checkpoint("smollm2-135m-instruct", cache_dir())
    reference, policy = load_policy(directory), load_policy(directory)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(1 + 0.01 * torch.randn_like(parameter))
    rows = read_rows(directory, options.pairs)
    engine = PreferenceEngine(Checkpoint(policy, "policy"), Checkpoint(reference, "reference"))

    ours, theirs = engine.score(rows, Wanted()), plainly([policy, reference], rows)
    error = max(abs(score.policy_logprob - plain) for score, plain in zip(ours, theirs[0], strict=True))
    timed = []
    for _ in range(options.rounds):
        ours_s = seconds(lambda: engine.score(rows, Wanted()))
        with_lambda_s = seconds(lambda: engine.score(rows, Wanted(lambdas=(0.5,), divergence=True)))
        timed.append((ours_s, with_lambda_s, seconds(lambda: plainly([policy, reference], rows))))
    columns = list(zip(*timed, strict=True))
    figures = {
        "pairs": options.pairs,
        "rounds": options.rounds,
        "threads": torch.get_num_threads(),
        "processors": os.cpu_count(),
        "torch": torch.__version__,
        "pairs_per_second": options.pairs / statistics.median(columns[0]),
        "pairs_per_second_with_lambda_and_divergence": options.pairs / statistics.median(columns[1]),
        "pairs_per_second_plain": options.pairs / statistics.median(columns[2]),
        "times_as_fast_as_plain": statistics.median(plain / mine for mine, _, plain in timed),
        "largest_difference_of_sums_nats": error,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(figures, indent=2) + "\n")
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
