"""How fast is the scorer, and how exact, beside others who compute the same log-probabilities?

    python bench/scoring.py [--workload fixed] [--rounds 5] [--pairs 8] [--only exact] [--clock processor]

Everybody scores the same pairs by the same two checkpoints, with the same threads and allocator: the
embedded model, and a copy with 1 % of noise as the policy. Rounds are interleaved, figures are medians over
them; with none, latency alone is measured. `fast` is told with what it multiplies in here. The memory that
everybody takes is measured by bench/scorer_memory.py. The last line printed is that of the ratios.

On a machine that others use, `--clock processor` counts the seconds that processors worked for a peer, by
thread, instead of those that passed.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scorer_peers as peers
import torch
from scorer_arithmetic import CLOCKS, Clock, gemm_peak, useful_flops
from scorer_models import Models
from scorer_workload import Pair, workload

from selfie.models.cache import default_cache
from selfie.models.embedded import embedded_checkpoint
from selfie.scoring.machines import machine_of
from selfie.scoring.precision import Mode

SLOW = ("hf-bf16",)
QUICK = ("exact", "fast", "hf-fp32", "hf-bf16")
"""Whose latency is told."""


MAKERS: dict[str, Callable[[Models, int], peers.Peer]] = {
    "exact": lambda models, _: peers.ours(models.engine, "exact"),
    "fast": lambda models, _: peers.ours(models.engine, "fast"),
    "hf-fp32": lambda models, batch: peers.naive(*models.plain, batch),
    "hf-fp32-keep": lambda models, batch: peers.naive(*models.plain, batch, keep=True),
    "hf-bf16": lambda models, batch: peers.naive(*models.halves, batch),
    "trl-1.16": lambda models, batch: peers.trl(*models.plain, batch),
    "lm-eval": lambda models, batch: peers.lm_eval(*models.plain, models.tokenizer, batch),
    "rewardbench": lambda models, batch: peers.rewardbench(*models.plain, models.tokenizer, batch),
}
"""Everybody, by who can be asked for with `--only`."""


def field(
    models: Models, batch: int, only: str | None = None
) -> tuple[dict[str, peers.Peer], dict[str, str]]:
    """Who takes part, and who does not and why."""
    found, missing = {}, dict(peers.NOT_TO_BE_HAD)
    for name in [only] if only else list(MAKERS):
        try:
            found[name] = MAKERS[name](models, batch)
        except ImportError as error:
            missing[name] = str(error)
    return found, missing


def measured(
    name: str, pairs: list[Pair], options: argparse.Namespace, field_: dict[str, peers.Peer]
) -> Iterator[dict[str, Any]]:
    """Figures of everybody on a workload, after each round those so far."""
    clock = CLOCKS[options.clock]
    seconds: dict[str, list[float]] = {who: [] for who in field_}
    sums: dict[str, list[float]] = {}
    peaks: dict[torch.dtype, list[float]] = {torch.float32: [], torch.bfloat16: []}
    rounded = {"hf-bf16", "fast"} if machine_of(torch.device("cpu")).bfloat16 else {"hf-bf16"}
    for number in range(options.rounds):
        for dtype, found in peaks.items():
            found.append(gemm_peak(clock, dtype))
        for who, score in field_.items():
            some = pairs[: options.slow_pairs] if who in SLOW else pairs
            if who in SLOW and number >= options.slow_rounds:
                continue
            started = clock()
            sums[who] = score(some)
            seconds[who].append((clock() - started) / len(some))
            told = f"{seconds[who][-1]:.3f} s a pair, load {os.getloadavg()[0]:.1f}"
            sys.stderr.write(f"{name} round {number} {who}: {told}\n")
        plain, half = (statistics.median(found) for found in peaks.values())
        work = useful_flops(pairs) / len(pairs)
        tokens = sum(len(part) for pair in pairs for part in pair) / len(pairs)
        yield {
            "pairs": len(pairs),
            "clock": options.clock,
            "load": os.getloadavg()[0],
            "gemm_peak_gflops": {"float32": plain / 1e9, "bfloat16": half / 1e9},
            "gflop_a_pair": work / 1e9,
            "peers": {
                who: _row(values, sums[who], sums.get("exact", ()), tokens=tokens, share=work / peak)
                for who, values in seconds.items()
                for peak in [half if who in rounded else plain]
            },
        }


def _row(
    values: list[float], sums: list[float], exact: Sequence[float], *, tokens: float, share: float
) -> dict[str, float]:
    typical = statistics.median(values)
    return {
        "seconds_a_pair": typical,
        "pairs_per_second": 1 / typical,
        "useful_tokens_per_second": 2 * tokens / typical,
        "share_of_gemm_peak": share / typical,
        "difference_from_exact": max((abs(a - b) for a, b in zip(sums, exact, strict=False)), default=0.0),
        "rounds": len(values),
    }


def latency(score: peers.Peer, pair: Pair, calls: int, clock: Clock) -> dict[str, float]:
    """Of a single pair, in seconds."""
    taken = []
    for _ in range(calls):
        started = clock()
        score([pair])
        taken.append(clock() - started)
    return {"p50": statistics.median(taken), "p99": float(np.percentile(taken, 99)), "calls": calls}


def ratios(found: dict[str, Any]) -> str:
    """The line that says how it went."""

    def times(workload_: str, one: str, other: str) -> str:
        rows = found["workloads"].get(workload_, {}).get("peers", {})
        if one not in rows or other not in rows:
            return "-"
        return f"{rows[other]['seconds_a_pair'] / rows[one]['seconds_a_pair']:.2f}"

    return (
        f"RATIOS fast/hf-bf16 fixed={times('fixed', 'fast', 'hf-bf16')} "
        f"lognormal={times('lognormal', 'fast', 'hf-bf16')} "
        f"exact/hf-fp32 fixed={times('fixed', 'exact', 'hf-fp32')}"
    )


def parsed() -> argparse.Namespace:
    """What is wanted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workload", action="append", choices=["fixed", "lognormal"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--batch", type=int, default=8, help="pairs at once for those who take batches")
    parser.add_argument("--slow-pairs", type=int, default=8, help="pairs for those who are slow here")
    parser.add_argument("--slow-rounds", type=int, default=5)
    parser.add_argument("--latency-calls", type=int, default=20, help="calls of one pair, one by one")
    parser.add_argument("--only", choices=list(MAKERS), help="one of them, without latency and comparison")
    parser.add_argument("--clock", choices=["wall", "processor"], default="wall")
    parser.add_argument("--output", type=Path, default=Path("bench/scoring.json"))
    return parser.parse_args()


def main() -> None:
    """Measures and writes the figures; workloads that are not measured now keep those of before."""
    options = parsed()
    names = options.workload or ["fixed", "lognormal"]
    directory = embedded_checkpoint("smollm2-135m-instruct", default_cache())
    loads = {name: workload(name, options.pairs, directory) for name in names}
    clock = CLOCKS[options.clock]
    models = Models(directory)
    field_, missing = field(models, options.batch, options.only)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    before = json.loads(options.output.read_text()) if options.output.exists() else {}
    for score in field_.values():
        score([Pair((1, 2, 3), (4, 5), (6,))])
    found: dict[str, Any] = {
        "machine": {"processor": platform.processor() or platform.machine(), "processors": os.cpu_count()},
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "missing": missing,
        "workloads": before.get("workloads", {}),
    }
    for name in names:
        for figures in measured(name, loads[name], options, field_):
            found["workloads"][name] = figures
            options.output.write_text(json.dumps(found, indent=2) + "\n")
    found["latency"] = before.get("latency", {})
    found["peak_memory_mib"] = before.get("peak_memory_mib", {})
    if options.only:
        found["peak_memory_mib"] = {options.only: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    else:
        if "fixed" in loads and options.latency_calls:
            pair, calls = loads["fixed"][0], options.latency_calls
            found["latency"] = {who: latency(field_[who], pair, calls, clock) for who in QUICK}
        modes: tuple[Mode, ...] = ("exact", "balanced", "fast")
        found["products"] = {mode: models.engine.arithmetic(mode).products for mode in modes}
    options.output.write_text(json.dumps(found, indent=2) + "\n")
    sys.stdout.write(json.dumps(found, indent=2) + "\n" + ratios(found) + "\n")


if __name__ == "__main__":
    main()
