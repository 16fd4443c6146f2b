"""Makes the table of docs/scale.md from bench/results/operator_scale.json.

Nothing in the table is written by hand; ``--check`` only says whether it is up to date.
"""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pages import put, with_table

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench/results/operator_scale.json"
PAGE = ROOT / "docs/scale.md"
NAME = "tools/scale.py"

Entry = Mapping[str, Any]
Figure = Callable[[Entry], Any]


def _at(*path: str) -> Figure:
    def find(entry: Entry) -> Any:
        found: Any = entry
        for name in path:
            found = found.get(name) if isinstance(found, Mapping) else None
        return found

    return find


def _quantiles(entry: Entry) -> str:
    found = entry["starts"]["create_to_job_s"]
    return f"{found.get('p50', '–')} · {found.get('p99', '–')} · {found['most']}"


def _most_memory(entry: Entry) -> int:
    phases = ("starts", "rest", "rounds", "end")
    return max(int(entry[name]["rss_mib_most"]["operator"]) for name in phases if name in entry)


def _writes(entry: Entry) -> int:
    asked = entry["rest"]["operator_requests"]
    writes = (
        count for name, count in asked.items() if name.split()[0] in {"create", "update", "patch", "delete"}
    )
    return int(sum(writes)) - int(asked.get("update leases", 0))


def _requests(entry: Entry) -> float:
    """Of the operator, without the renewals of its Lease, which do not depend on runs."""
    rest = entry["rest"]
    return round(
        rest["operator_requests_a_second"]
        - rest["operator_requests"].get("update leases", 0) / rest["seconds"],
        2,
    )


def _ended(entry: Entry) -> str:
    rounds = entry["rounds"]
    ended = rounds["complete"] + rounds["failed"]
    if rounds["all_ended_s"] is not None:
        return str(rounds["all_ended_s"])
    return f"{ended} of {entry['settings']['runs']} within {rounds['seconds']:.0f}"


def _cores(phase: str) -> Figure:
    def told(entry: Entry) -> str:
        cores = entry[phase]["cores"]
        names = {
            "operator": "operator",
            "training": "training",
            "kube-apiserver": "API server",
            "etcd": "etcd",
            "kube-controller-manager": "controllers",
            "bench": "fake node",
        }
        parts = [f"{label} {cores.get(name, 0):.2f}" for name, label in names.items()]
        return ", ".join([*parts, f"all else {entry[phase]['cores_of_others']:.2f}"])

    return told


ROWS: tuple[tuple[str, str, Figure], ...] = (
    (
        "runs, beside so many that have ended",
        "1,000 · 5,000",
        lambda e: f"{e['settings']['runs']:,} · {e['settings']['finished']:,}",
    ),
    ("runs created a second", "5", _at("starts", "created_a_second")),
    ("runs started a second", "≥ 5", _at("starts", "started_a_second")),
    ("from a run's creation to its first Job, s: p50 · p99 · most", "≤ 1 · ≤ 5 · –", _quantiles),
    ("cores while they start", "operator ≤ 1", _cores("starts")),
    ("at rest: requests a second of the operator, Lease apart", "≤ 1", _requests),
    ("at rest: requests a second of the training controller", "–", _at("rest", "training_requests_a_second")),
    ("at rest: writes", "0", _writes),
    ("at rest: cores of the operator", "≤ 0.05", _at("rest", "cores", "operator")),
    (
        "cold start beside those that have ended: all listed · looked at, s",
        "≤ 15 · –",
        lambda e: f"{e['cold_start']['synced_s']} · {e['cold_start']['all_looked_at_s']}",
    ),
    ("cold start: writes", "0", _at("cold_start", "writes")),
    (
        "kill -9 at rest, until it acts again · has looked at all, s",
        "≤ 30 · –",
        lambda e: f"{e['restart']['synced_s']} · {e['restart']['all_looked_at_s']}",
    ),
    ("kill -9 at rest: writes", "0", _at("restart", "writes")),
    ("three rounds: until all have ended, s", "–", _ended),
    (
        "three rounds: Complete · Failed · steps done twice",
        "all · 0 · 0",
        lambda e: f"{e['rounds']['complete']} · {e['rounds']['failed']} · {e['rounds']['steps_done_twice']}",
    ),
    ("three rounds: steps a second", "–", _at("rounds", "steps_a_second")),
    (
        "three rounds: requests a second of operator · training",
        "–",
        lambda e: (
            f"{e['rounds']['operator_requests_a_second']} · {e['rounds']['training_requests_a_second']}"
        ),
    ),
    ("three rounds: cores", "operator ≤ 1", _cores("rounds")),
    ("most memory of the operator, MiB", "≤ 512, aim 300", _most_memory),
    ("measured", "", _at("measured")),
)


def table(results: Mapping[str, Entry]) -> str:
    """A column for each number of runs, the smallest first."""
    names = sorted(results, key=lambda name: (results[name]["settings"]["runs"], name))
    lines = [f"| figure | target | {' | '.join(names)} |", "|---|---|" + "---|" * len(names)]
    for label, target, figure in ROWS:
        cells = [_cell(figure, results[name]) for name in names]
        lines.append(f"| {label} | {target} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(figure: Figure, entry: Entry) -> str:
    try:
        found = figure(entry)
    except KeyError:
        # A phase that was not measured.
        return "–"
    return "–" if found is None else str(found)


def main() -> int:
    """Writes the page, or checks it."""
    return put(PAGE, with_table(PAGE.read_text(), NAME, table(json.loads(RESULTS.read_text()))))


if __name__ == "__main__":
    sys.exit(main())
