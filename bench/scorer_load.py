"""How does a scorer hold up: alone, at ten times what it can do, and beside a data set?

    python bench/scorer_load.py [--policy X] [--reference Y] [--seconds 10] [--output FILE]

The scorer is a process of its own on loopback, and so is this one, which makes the calls: Compare on
held-out pairs of the quickstart, each for the first time. Its own share of the processors is told, as it
is taken from the scorer's. Four figures are read against their targets: answers refused for overload within
50 ms, goodput under overload at least 80 % of the peak, health within 100 ms, and Compare beside a data
set at most twice as slow as alone (all but the first at their 99th percentile).
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from scorer_data import start_data_set, write_samples
from scorer_models import write_noisy

from selfie.models.cache import default_cache
from selfie.models.resolve import resolve_model
from selfie.rpc.channels import connect, is_ready
from selfie.v1 import artifacts_pb2, scoring_pb2, scoring_pb2_grpc

SERVICE_NAME = "selfie.v1.ScoringService"
PAIRS = Path(__file__).resolve().parents[1] / "examples/quickstart/heldout.jsonl"
CALLERS = 8
OVERLOAD = 10


@dataclass
class Tally:
    """Seconds of each call, by how it ended."""

    answered: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    health: list[float] = field(default_factory=list)
    other: int = 0


class Calls:
    """Compare calls, no two of them alike."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self._stub = scoring_pb2_grpc.ScoringServiceStub(channel)
        self._pairs = [json.loads(line) for line in PAIRS.read_text().splitlines()]
        self._made = 0

    def request(self) -> scoring_pb2.CompareRequest:
        """The next pair, marked so that no score of it is remembered."""
        pair = self._pairs[self._made % len(self._pairs)]
        self._made += 1
        turns = [artifacts_pb2.Message(**turn) for turn in pair["prompt"]]
        turns[-1].content += f" ({self._made})"
        return scoring_pb2.CompareRequest(
            prompt=scoring_pb2.PromptInput(messages=turns),
            first=scoring_pb2.ResponseInput(text=pair["chosen"]),
            second=scoring_pb2.ResponseInput(text=pair["rejected"]),
        )

    async def make(self, tally: Tally) -> None:
        """One call, into the tally."""
        request, started = self.request(), time.perf_counter()
        code = await self._stub.Compare(request, timeout=5).code()
        seconds = time.perf_counter() - started
        if code == grpc.StatusCode.OK:
            tally.answered.append(seconds)
        elif code == grpc.StatusCode.RESOURCE_EXHAUSTED:
            tally.refused.append(seconds)
        else:
            tally.other += 1

    async def probe(self, tally: Tally) -> None:
        """Asks for health ten times a second until it is cancelled."""
        while True:
            started = time.perf_counter()
            await is_ready(self._channel, SERVICE_NAME)
            tally.health.append(time.perf_counter() - started)
            await asyncio.sleep(0.1)


async def closed(calls: Calls, callers: int, until: Callable[[], bool]) -> Tally:
    """So many callers, each of which asks again when it has its answer."""
    tally = Tally()

    async def caller() -> None:
        while not until():
            await calls.make(tally)

    await asyncio.gather(*(caller() for _ in range(callers)))
    return tally


async def at_rate(calls: Calls, per_second: float, seconds: float) -> Tally:
    """Calls at a rate, whether or not those before them are answered."""
    tally, started = Tally(), time.perf_counter()
    made: set[asyncio.Task[None]] = set()
    probing = asyncio.create_task(calls.probe(tally))
    count = 0
    while (passed := time.perf_counter() - started) < seconds:
        while count < passed * per_second:
            count += 1
            made.add(asyncio.create_task(calls.make(tally)))
        await asyncio.sleep(0.002)
    await asyncio.gather(*made)
    probing.cancel()
    return tally


def after(seconds: float) -> Callable[[], bool]:
    """Whether so many seconds have passed since now."""
    ends = time.monotonic() + seconds
    return lambda: time.monotonic() > ends


def percentile(values: list[float], share: float) -> float | None:
    """In milliseconds."""
    return round(1000 * float(np.percentile(values, share)), 2) if values else None


async def measured(calls: Calls, seconds: float, data_set: Callable[[], Awaitable[str]]) -> dict[str, Any]:
    """All figures."""
    await closed(calls, 1, after(min(seconds, 3)))
    alone = await closed(calls, 1, after(seconds))
    busy = await closed(calls, CALLERS, after(seconds))
    peak = len(busy.answered) / seconds
    if not peak:
        sys.exit(f"nothing was answered within {seconds:g} s; give it longer with --seconds")
    processor, started = time.process_time(), time.perf_counter()
    overload = await at_rate(calls, OVERLOAD * peak, seconds)
    own = (time.process_time() - processor) / (time.perf_counter() - started)
    await data_set()
    beside = await closed(calls, 1, after(seconds))
    return {
        "processors": os.cpu_count(),
        "compare_alone_ms": {"p50": percentile(alone.answered, 50), "p99": percentile(alone.answered, 99)},
        "peak_per_second": round(peak, 1),
        "overload": {
            "offered_per_second": round(OVERLOAD * peak, 1),
            "goodput_share_of_peak": round(len(overload.answered) / seconds / peak, 3),
            "refused": len(overload.refused),
            "refused_ms_p99": percentile(overload.refused, 99),
            "health_ms_p99": percentile(overload.health, 99),
            "ended_otherwise": overload.other,
            "processors_taken_by_the_caller": round(own, 2),
        },
        "compare_beside_a_data_set_ms": {
            "p50": percentile(beside.answered, 50),
            "p99": percentile(beside.answered, 99),
            "calls": len(beside.answered),
        },
    }


@contextmanager
def scorer(options: argparse.Namespace, run: str, scratch: Path) -> Iterator[str]:
    """The address of a scorer in a process of its own, once it is ready."""
    ports = scratch / "ports.json"
    command = [
        *(sys.executable, "-m", "selfie.scoring", "--policy", options.policy),
        *("--reference", options.reference, "--port-file", str(ports), "--artifact-roots", f'["{run}"]'),
        *("--parent-pid", str(os.getpid()), "--log-level", "warning"),
    ]
    process = subprocess.Popen(command)
    try:
        while not ports.exists():
            time.sleep(0.2)
            if process.poll() is not None:
                sys.exit("the scorer has ended; see above")
        yield f"127.0.0.1:{json.loads(ports.read_text())['port']}"
    finally:
        process.terminate()
        process.wait(60)


async def figures_of(options: argparse.Namespace, address: str, run: str, model: Path) -> dict[str, Any]:
    """All figures of the scorer at an address."""
    async with connect(address) as channel:
        calls = Calls(channel)
        stub = scoring_pb2_grpc.ScoringServiceStub(channel)
        found = (await stub.Compare(calls.request(), timeout=60)).provenance
        source = write_samples(run, model, PAIRS, found.policy_digest, options.rows)
        return await measured(calls, options.seconds, lambda: start_data_set(channel, run, source, found))


def main() -> None:
    """Measures and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policy", help="without it, the reference with 1 %% of noise")
    parser.add_argument("--reference", default="builtin://smollm2-135m-instruct")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rows", type=int, default=2000, help="prompts of the data set")
    parser.add_argument("--output", type=Path, default=Path("bench/scorer_load.json"))
    options = parser.parse_args()
    model = resolve_model(options.reference, cache_root=default_cache()).directory
    with tempfile.TemporaryDirectory() as scratch:
        options.policy = options.policy or write_noisy(model, Path(scratch, "policy")).as_uri()
        run = Path(scratch, "run").as_uri()
        with scorer(options, run, Path(scratch)) as address:
            figures = asyncio.run(figures_of(options, address, run, model))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(figures, indent=2) + "\n")
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
