"""Makes tables and plot of docs/performance.md from what was measured: ``python tools/performance.py``.

`bench/scoring.py` and its like leave their figures as JSON in bench; nothing in the tables is written by
hand.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pages import with_table

ROOT = Path(__file__).parents[1]
BENCH, PAGE = ROOT / "bench", ROOT / "docs/performance.md"
PLOT = ROOT / "docs/images/scoring.svg"


def speed(found: Mapping[str, Any]) -> str:
    """A row for each peer and workload."""
    heads = ["workload", "who", "s a pair", "pairs/s", "useful tokens/s", "share of GEMM peak"]
    heads += ["times hf-fp32", "times hf-bf16", "nats from `exact`", "peak MiB", "rounds"]
    rows = [_row(heads), _row(["---"] * len(heads))]
    memory = found["peak_memory_mib"]
    for name, workload in found["workloads"].items():
        plain, rounded = (workload["peers"][who]["seconds_a_pair"] for who in ("hf-fp32", "hf-bf16"))
        for who, row in workload["peers"].items():
            rows.append(
                _row(
                    [
                        name,
                        who,
                        f"{row['seconds_a_pair']:.2f}",
                        f"{row['pairs_per_second']:.3f}",
                        f"{row['useful_tokens_per_second']:.0f}",
                        f"{row['share_of_gemm_peak']:.0%}",
                        f"{plain / row['seconds_a_pair']:.2f}",
                        f"{rounded / row['seconds_a_pair']:.2f}",
                        f"{row['difference_from_exact']:.1e}",
                        f"{memory[who]:.0f}" if name == "fixed" and who in memory else "–",
                        str(row["rounds"]),
                    ]
                )
            )
    told = [
        f"{name}: {workload['pairs']} pairs a round, {workload['gflop_a_pair']:.0f} GFLOP each; "
        f"{workload['clock']} seconds, load {workload['load']:.0f}; best product "
        + " and ".join(
            f"{peak:.0f} GFLOP/s in {dtype}" for dtype, peak in workload["gemm_peak_gflops"].items()
        )
        + "."
        for name, workload in found["workloads"].items()
    ]
    late = [
        f"`{who}` {1000 * row['p50']:.0f} · {1000 * row['p99']:.0f} ms"
        for who, row in found["latency"].items()
    ]
    told.append(f"A pair of `fixed` by itself, p50 · p99 of {_calls(found)} calls: {', '.join(late)}.")
    absent = [f"{name}: {why}." for name, why in found["missing"].items()]
    products = ", ".join(f"`{mode}` in {products}" for mode, products in found["products"].items())
    return "\n".join([*rows, "", *told, f"Products here: {products}. Not measured: {' '.join(absent)}"])


def _calls(found: Mapping[str, Any]) -> int:
    return max(int(row["calls"]) for row in found["latency"].values())


def errors(found: Mapping[str, Any]) -> str:
    """A row for what products are rounded to."""
    heads = ["products", "policy", "reference", "extrapolated (λ ½)", "log-ratio"]
    heads += ["largest share of its bound", "bound at 200 tokens"]
    rows = [_row(heads), _row(["---"] * len(heads))]
    for products, row in found["products"].items():
        sums = [f"{row[name]:.1e}" for name in ("policy", "reference", "extrapolated", "log_ratio")]
        share = f"{row['largest_share_of_bound']:.0%}"
        rows.append(_row([products, *sums, share, f"{row['bound_at_200_tokens']:.1e}"]))
    tokens = found["tokens"]
    told = (
        f"{found['rows']} responses of {min(tokens)} to {max(tokens)} tokens, whose sums come to at most "
        f"{found['largest_sum']:.0f} nats."
    )
    return "\n".join([*rows, "", told])


def profile(found: Mapping[str, Any]) -> str:
    """Where the time of a pair goes, by mode."""
    rows = [
        _row(["mode", "part", "ms a pair", "of all", "TFLOP/s"]),
        _row(["---"] * 5),
    ]
    for mode, figures in found["modes"].items():
        whole = sum(part["milliseconds_a_pair"] for part in figures["parts"].values())
        for what, part in figures["parts"].items():
            taken, speed = part["milliseconds_a_pair"], part["tflops"]
            reached = "–" if speed is None else f"{speed:.2f} of {figures['peak_tflops']:.2f}"
            rows.append(_row([mode, what, f"{taken:.0f}", f"{taken / whole:.0%}", reached]))
    told = [
        f"`{mode}` takes {figures['milliseconds_a_pair']:.0f} ms a pair without the profiler; at the best "
        f"product seen, the useful arithmetic ({found['gflop_a_pair']:.0f} GFLOP) alone would take "
        f"{figures['useful_at_peak_milliseconds']:.0f}."
        for mode, figures in found["modes"].items()
    ]
    return "\n".join([*rows, "", *told])


def load(found: Mapping[str, Any]) -> str:
    """What the load generator told."""
    overload, alone, beside = (
        found[name] for name in ("overload", "compare_alone_ms", "compare_beside_a_data_set_ms")
    )
    rows = [
        ("Compare alone, p50 · p99", f"{alone['p50']} · {alone['p99']} ms"),
        ("peak", f"{found['peak_per_second']} calls/s"),
        ("offered under overload", f"{overload['offered_per_second']} calls/s"),
        ("goodput under it, of the peak", f"{overload['goodput_share_of_peak']:.0%}"),
        ("refused, p99 of the refusal", f"{overload['refused']}, {overload['refused_ms_p99']} ms"),
        ("health under it, p99", f"{overload['health_ms_p99']} ms"),
        ("ended otherwise", str(overload["ended_otherwise"])),
        ("processors that the caller took", str(overload["processors_taken_by_the_caller"])),
        ("Compare beside a data set, p50 · p99", f"{beside['p50']} · {beside['p99']} ms"),
    ]
    return "\n".join([_row(["figure", ""]), _row(["---", "---"]), *(_row(list(row)) for row in rows)])


def engines(found: Mapping[str, Any]) -> str:
    """Tokens a second of everybody who samples, each turn of its own."""
    rows = [_row(["who", "tokens/s in each round", "median", "the engine is so many times as fast"])]
    rows.append(_row(["---"] * 4))
    for who, speeds in found["tokens_per_second"].items():
        told = " · ".join(f"{speed:.0f}" for speed in speeds[1:])
        rows.append(_row([who, told, f"{found['medians'][who]:.0f}", f"{found['times'][who]:.2f}"]))
    told = [f"{found['responses']} responses a round, load {found['load_average']:.0f}."]
    return "\n".join([*rows, "", *told, *(f"Not there: {who}." for who in found["absent"])])


def generation(found: Mapping[str, Any]) -> str:
    """What the generation service adds to its engine."""
    rows = [_row(["", "engine", "service", "difference"]), _row(["---"] * 4)]
    speeds, times = found["tokens_per_second"], found["latency_ms_p50"]
    lost, added = found["throughput_lost_percent"], found["latency_added_ms_p50"]
    rows.append(_row(["tokens/s", f"{speeds['engine']:.0f}", f"{speeds['service']:.0f}", f"{-lost:+.1f} %"]))
    rows.append(_row(["ms a call, p50", f"{times['engine']}", f"{times['service']}", f"{added:+.1f} ms"]))
    told = (
        f"Medians of {found['rounds']} rounds and {found['calls']} calls, load {found['load_average']:.0f}."
    )
    return "\n".join([*rows, "", told])


TABLES = {
    "tools/performance.py speed": (speed, "scoring.json"),
    "tools/performance.py profile": (profile, "scorer_profile.json"),
    "tools/performance.py errors": (errors, "precision.json"),
    "tools/performance.py load": (load, "scorer_load.json"),
    "tools/performance.py engines": (engines, "results/engines.json"),
    "tools/performance.py generation": (generation, "results/generation.json"),
}


def written(page: str) -> str:
    """The page with new tables in place of those that were there; what was not measured stays as it is."""
    for name, (table, file) in TABLES.items():
        if (BENCH / file).exists():
            page = with_table(page, name, table(json.loads((BENCH / file).read_text())))
    return page


def draw(found: Mapping[str, Any]) -> None:
    """Pairs a second of everybody, by workload."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = PLOT.stem
    from matplotlib import pyplot as plt

    workloads = found["workloads"]
    figure, axes = plt.subplots(1, len(workloads), figsize=(4.5 * len(workloads), 3.2), squeeze=False)
    for axis, (name, workload) in zip(axes[0], workloads.items(), strict=True):
        peers = workload["peers"]
        axis.barh(list(peers), [row["pairs_per_second"] for row in peers.values()])
        axis.set_title(name)
        axis.set_xlabel("pairs a second")
        axis.invert_yaxis()
    figure.tight_layout()
    PLOT.parent.mkdir(exist_ok=True)
    figure.savefig(PLOT, metadata={"Date": None})


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Writes the page and the plot; with ``--check`` only says whether the page is up to date."""
    page = PAGE.read_text()
    wanted = written(page)
    if "--check" in sys.argv:
        return int(page != wanted)
    PAGE.write_text(wanted)
    if (BENCH / "scoring.json").exists():
        draw(json.loads((BENCH / "scoring.json").read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
