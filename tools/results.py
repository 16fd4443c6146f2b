"""Runs the paper's tables at small scale over several random seeds, and writes `docs/results.md`.

    python tools/results.py run   [--seeds 1 2 3] [--variants main judge-random] [--artifacts runs/paper]
    python tools/results.py write [--artifacts runs/paper] [--output docs/results.md]

`run` makes every run that is not there yet, main first: the others take over from it, by
`resumeFrom`, whatever they have in common with it, so that all of one seed start from the same
π_0. It may be stopped at any time, and goes on where it was. `write` reads what there is.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

from selfie.cli.comparing import compare_places
from selfie.compare.shape import ComparedRuns, GroupEntry, WinEntry
from selfie.method.statistics import Difference, Proportion

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples/paper"
FIRST = "main"
VARIANTS = {
    "main": "Selfie",
    "judge-random": "control: labels by chance",
    "judge-longest": "control: labels prefer the longer",
    "seed-again": "control: the seed's pairs again",
    "expansion": "ablation: no refinement",
    "refinement": "ablation: refinement, not extrapolated",
    "reference-previous": "judge's reference: the round before",
    "reference-none": "judge's reference: none",
}
"""Files of `examples/paper`, and what the tables call them."""


def main() -> None:
    """Reads the arguments and does what they say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("command", choices=["run", "write"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5, 6])
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--artifacts", type=Path, default=Path("runs/paper"))
    parser.add_argument("--output", type=Path, default=ROOT / "docs/results.md")
    options = parser.parse_args()
    if options.command == "run":
        run_all(options.artifacts, options.variants, options.seeds)
    else:
        options.output.write_text(document(options.artifacts))


def run_all(artifacts: Path, variants: Iterable[str], seeds: Sequence[int]) -> None:
    """Seed by seed, so that what is finished is comparable; ends at the first run that fails."""
    for seed in seeds:
        for variant in sorted(variants, key=lambda name: name != FIRST):
            command = ["selfie", "run", str(specification(artifacts, variant, seed))]
            subprocess.run([*command, "--artifacts", str(artifacts)], check=True)


def specification(artifacts: Path, variant: str, seed: int) -> Path:
    """The variant's file for one seed, beside the runs; all but `main` take over from it."""
    document = yaml.safe_load((EXAMPLES / f"{variant}.yaml").read_text())
    spec = document["spec"]
    document["metadata"]["name"] = name_of(variant, seed)
    spec["randomSeed"] = seed
    if variant != FIRST:
        spec["resumeFrom"] = (artifacts / name_of(FIRST, seed)).resolve().as_uri()
    _make_absolute(spec)
    file = artifacts / "specs" / f"{name_of(variant, seed)}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    return file


def name_of(variant: str, seed: int) -> str:
    """Name of a variant's run with one random seed."""
    return f"paper-{variant}-s{seed}"


def _make_absolute(spec: dict) -> None:  # type: ignore[type-arg]
    """Data sets are named relative to the example's own folder."""
    for entry in (spec["seed"], *(each["prompts"] for each in spec["rounds"]), spec["evaluation"]["prompts"]):
        for field in ("dataset", "heldout"):
            if field in entry:
                entry[field] = (EXAMPLES / entry[field]).resolve().as_uri()


def document(artifacts: Path) -> str:
    """All tables as Markdown, from the runs that are there."""
    runs = {name: _found(artifacts, name) for name in VARIANTS}
    places = [str(place) for variant in runs.values() for place in variant]
    if not places:
        sys.exit(f"no runs in {artifacts}; make them with: python tools/results.py run")
    found = compare_places(places, None, str(artifacts))
    names = {place.name: variant for variant, there in runs.items() for place in there}
    return (
        "\n".join([*_head(runs), *_accuracy(found, names), *_wins(found, names), *_each(found, names)]) + "\n"
    )


def _found(artifacts: Path, variant: str) -> list[Path]:
    places = (path.parent for path in artifacts.glob(f"paper-{variant}-s*/status.json"))
    return sorted(places, key=lambda path: int(path.name.rpartition("-s")[2]))


def _head(runs: dict[str, list[Path]]) -> list[str]:
    return [
        "# What the method does at small scale",
        "",
        "Written by `python tools/results.py write` from runs of `examples/paper/*.yaml`; the same command",
        "with `run` makes them. SmolLM2-135M-Instruct, 48 seed pairs, two rounds of 32 prompts with 4",
        "responses each, held-out pairs and the oracle of `examples/quickstart`. All variants of one random",
        "seed start from the same π_0. Intervals are of 95 %. A verdict over seeds needs six of them, and",
        "Student's interval, his p after Holm and the sign test to agree; else the difference is noise.",
        "",
        "| variant | random seeds |",
        "|---|---|",
        *(f"| {VARIANTS[name]} (`{name}`) | {_seeds(there)} |" for name, there in runs.items() if there),
        "",
    ]


def _seeds(places: Iterable[Path]) -> str:
    return ", ".join(place.name.rpartition("-s")[2] for place in places)


def _accuracy(found: ComparedRuns, names: dict[str, str]) -> list[str]:
    lines = [
        "## The judge: accuracy on held-out pairs, mean over seeds",
        "",
        "| variant | round | reading | accuracy | over π_0, points | p after Holm | verdict |",
        "|---|---|---|---|---|---|---|",
    ]
    for group in found.groups:
        if group.mean is None:
            continue
        mean = group.mean
        adjusted = "–" if mean.adjusted_p is None else f"{mean.adjusted_p:.3f}"
        cells = (
            VARIANTS[names[group.seeds[0].run]],
            group.round,
            group.reading,
            _percent(mean.accuracy),
            "–" if mean.difference is None else _points(mean.difference),
            adjusted,
            _verdict(group),
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return [*lines, ""]


def _verdict(group: GroupEntry) -> str:
    if group.verdict is None:
        return f"too few seeds ({len(group.seeds)})"
    return "noise" if group.verdict == "no difference established" else group.verdict


def _wins(found: ComparedRuns, names: dict[str, str]) -> list[str]:
    lines = [
        "## The responses: win rate by the oracle at equal length, on unused prompts",
        "",
        "| variant | round | against | win rate of each seed |",
        "|---|---|---|---|",
    ]
    rows: dict[tuple[str, int, str], list[WinEntry]] = {}
    for entry in found.wins:
        if entry.against in ("seed", "initial"):
            rows.setdefault((names[entry.run], entry.round, entry.against), []).append(entry)
    for (variant, number, against), entries in rows.items():
        told = ", ".join(_percent_of(entry.wins.controlled) for entry in entries)
        model = {"seed": "π_0", "initial": "π_init"}[against]
        lines.append(f"| {VARIANTS[variant]} | {number} | {model} | {told} |")
    return [*lines, ""]


def _each(found: ComparedRuns, names: dict[str, str]) -> list[str]:
    lines = [
        "## Every run",
        "",
        "| variant | seed | round | accuracy, summed | per token | KL per token | tokens | finished |",
        "|---|---|---|---|---|---|---|---|",
    ]
    seeds = {run.name: run.random_seed for run in found.runs}
    for entry in found.rounds:
        shares = [f"{100 * reading.accuracy['all'].value:.1f}" for reading in entry.readings]
        behaviour = (
            "–" if entry.divergence is None else f"{entry.divergence:.4f}",
            "–" if entry.mean_tokens is None else f"{entry.mean_tokens:.1f}",
            "–" if entry.finished_share is None else f"{100 * entry.finished_share:.0f} %",
        )
        cells = (VARIANTS[names[entry.run]], seeds[entry.run], entry.round, *shares, *behaviour)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def _percent(value: Difference | Proportion) -> str:
    return f"{100 * value.value:.1f} [{100 * value.low:.1f}, {100 * value.high:.1f}]"


def _points(value: Difference) -> str:
    return f"{100 * value.value:+.1f} [{100 * value.low:+.1f}, {100 * value.high:+.1f}]"


def _percent_of(value: Proportion | None) -> str:
    return "–" if value is None else _percent(value)


if __name__ == "__main__":
    main()
