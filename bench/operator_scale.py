"""What do a thousand runs cost, at work and at rest?

    PYTHONPATH=services:operator:hack:tests/support python bench/operator_scale.py --runs 1000 --finished 5000

The fault cases 17 and 19 on a control plane of this machine. Runs are created at a steady rate, and the
first Job of each is held until all are there: so long they are started (create to Job), and then at
rest. Then they are let go, and all go through three rounds as fast as they come. Every run must end
Complete, and no step may be done twice. Whatever else takes part is measured too: with two
processors, API server, etcd and the fake node need most of them.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scale_parts import Gate
from scale_phases import all_rounds, at_rest, cold_start, make_finished, one_run, requests_of_all, start_runs
from scale_release import Release, opened

from cluster.running import started

OUTPUT = Path(__file__).parent / "results/operator_scale.json"


async def measured(options: argparse.Namespace, release: Release) -> dict[str, Any]:
    """All phases, each told when it is done."""
    results: dict[str, Any] = {}

    def tell(name: str, found: dict[str, Any]) -> None:
        results[name] = found
        print(f"{datetime.now():%H:%M:%S} {name}: {json.dumps(found)}", flush=True)

    status = await one_run(release)
    await make_finished(release, status, options.finished)
    tell("cold_start", await cold_start(release))
    gate = Gate()
    release.work.behave = gate.behave
    tell("starts", await start_runs(release, gate, options.runs, options.rate))
    # Each has been looked at once more by then, of which there are five looks a second.
    tell("rest", await at_rest(release, options.settle + options.runs / 4, options.rest))
    if options.until_rest:
        return results
    await release.stop("operator", signal.SIGKILL)
    tell("restart", await cold_start(release))
    tell("rounds", await all_rounds(release, gate, options.runs, options.patience))
    tell("end", await at_rest(release, options.settle, options.rest / 2))
    tell("requests", await asyncio.to_thread(requests_of_all, release))
    if options.keep:
        print(f"logs: {release.folder}; Enter ends it")
        await asyncio.to_thread(sys.stdin.readline)
    return results


async def main(options: argparse.Namespace) -> None:
    """Measures, and adds the figures to what was measured with other numbers of runs."""
    limits = {
        "operator": (options.qps, 2 * round(options.qps)),
        "training": (options.training_qps, 2 * round(options.training_qps)),
    }
    with started("control-plane") as cluster:
        async with opened(cluster, limits) as release:
            found = await measured(options, release)
    entry = {
        "measured": datetime.now(UTC).strftime("%Y-%m-%d"),
        "machine": {"processors": os.cpu_count(), "load_before": options.load},
        "settings": {
            "runs": options.runs,
            "finished": options.finished,
            "rate": options.rate,
            "operator_qps": options.qps,
            "training_qps": options.training_qps,
        },
        **found,
    }
    if options.output:
        known = json.loads(options.output.read_text()) if options.output.exists() else {}
        known[options.name or f"{options.runs:,} runs"] = entry
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--finished", type=int, default=5000)
    parser.add_argument("--rate", type=float, default=5, help="runs created a second")
    parser.add_argument("--qps", type=float, default=50, help="operator's limit of API requests a second")
    parser.add_argument("--training-qps", type=float, default=50, help="training controller's")
    parser.add_argument("--settle", type=float, default=60, help="seconds before a rest is measured")
    parser.add_argument("--rest", type=float, default=120, help="seconds of rest")
    parser.add_argument("--patience", type=float, default=7200, help="seconds for all rounds")
    parser.add_argument("--until-rest", action="store_true", help="end before the rounds")
    parser.add_argument("--name", default="", help="under which the figures are kept")
    parser.add_argument("--keep", action="store_true", help="wait before the cluster ends")
    parser.add_argument("--output", type=Path, default=None, help=f"usually {OUTPUT}")
    options = parser.parse_args()
    options.load = round(os.getloadavg()[0], 1)
    return options


if __name__ == "__main__":
    asyncio.run(main(arguments()))
