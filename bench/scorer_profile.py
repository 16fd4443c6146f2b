"""Where does the scorer's time go?

    python bench/scorer_profile.py [--pairs 8] [--output FILE]

The operators that torch tells of while `fixed` is scored, by what they are for: products of the layers, the
head's products, attention, the head's normalisers, and what lies between products. For products it tells
what they reach, and how long the useful arithmetic would take at the best that this machine was seen to do.
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import scorer_peers as peers
import torch
from scorer_arithmetic import gemm_peak, useful_flops
from scorer_models import Models
from scorer_workload import Pair, workload
from torch.profiler import ProfilerActivity, profile

from selfie.models.cache import default_cache
from selfie.models.embedded import embedded_checkpoint
from selfie.scoring.head import Tile
from selfie.scoring.precision import Mode

PRODUCTS = ("aten::mm", "aten::addmm_")


def purpose(name: str, shapes: list[Any]) -> str:
    """What an operator on tensors of these shapes is for."""
    sizes = [shape for shape in shapes if shape]
    in_head = any(size[-1] == Tile().columns for size in sizes)
    if name in PRODUCTS:
        return "head's products" if in_head else "layers' products"
    if "attention" in name:
        return "attention"
    return "head's normalisers" if in_head else "between products"


def product_flops(name: str, shapes: list[Any]) -> float:
    """Of a matrix product, else 0."""
    if name not in PRODUCTS:
        return 0.0
    first = 0 if name == "aten::mm" else 1
    left, right = shapes[first : first + 2]
    return float(2 * left[0] * left[1] * right[1])


def profiled(score: peers.Peer, pairs: list[Pair]) -> dict[str, Any]:
    """Milliseconds a pair by purpose, and TFLOP/s of the products."""
    score(pairs)
    started = time.perf_counter()
    score(pairs)
    whole = time.perf_counter() - started
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as told:
        score(pairs)
    seconds: dict[str, float] = defaultdict(float)
    flops: dict[str, float] = defaultdict(float)
    for entry in told.key_averages(group_by_input_shape=True):
        shapes = [list(shape) for shape in entry.input_shapes if shape]
        what = purpose(entry.key, shapes)
        seconds[what] += entry.self_cpu_time_total / 1e6
        flops[what] += product_flops(entry.key, shapes) * entry.count
    return {
        "milliseconds_a_pair": 1000 * whole / len(pairs),
        "parts": {
            what: {
                "milliseconds_a_pair": 1000 * taken / len(pairs),
                "tflops": flops[what] / taken / 1e12 if flops[what] else None,
            }
            for what, taken in sorted(seconds.items(), key=lambda item: -item[1])
        },
    }


def main() -> None:
    """Measures and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--output", type=Path, default=Path("bench/scorer_profile.json"))
    options = parser.parse_args()
    directory = embedded_checkpoint("smollm2-135m-instruct", default_cache())
    engine, pairs = Models(directory).engine, workload("fixed", options.pairs, directory)
    modes: tuple[Mode, ...] = ("exact", "fast")
    useful = useful_flops(pairs) / len(pairs)
    found: dict[str, Any] = {"gflop_a_pair": useful / 1e9, "modes": {}}
    for mode in modes:
        kind = torch.bfloat16 if engine.arithmetic(mode).products == "bfloat16" else torch.float32
        peak = gemm_peak(time.perf_counter, kind)
        figures = profiled(peers.ours(engine, mode), pairs)
        figures |= {"products": engine.arithmetic(mode).products, "peak_tflops": peak / 1e12}
        figures["useful_at_peak_milliseconds"] = 1000 * useful / peak
        found["modes"][mode] = figures
    options.output.write_text(json.dumps(found, indent=2) + "\n")
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
