"""The phases of the measurement at scale, and what each of them shows."""

import asyncio
import copy
import statistics
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from scale_parts import NAMESPACE, Gate
from scale_release import Release
from scrapes import Scrape

from cluster.audit import parsed
from selfie.kube.objects import SELFIE_RUN

REQUESTS = {name: f"selfie_{name}_api_requests_total" for name in ("operator", "training")}
WRITES = ("create", "update", "patch", "delete")
LOOKS, LOOK_SUM = "selfie_operator_reconcile_total", "selfie_operator_reconcile_duration_seconds_sum"


class Phase:
    """One stretch of the measurement: what the processes took, and what was asked of the API server."""

    def __init__(self, release: Release, before: dict[str, Scrape]) -> None:
        self._release, self._before, self._window = release, before, release.meter.window()

    @classmethod
    async def begin(cls, release: Release) -> "Phase":
        """From now on."""
        return cls(release, await _scrapes(release))

    async def figures(self) -> dict[str, Any]:
        """Of everything until now."""
        found, after = self._window.figures(), await _scrapes(self._release)
        seconds = found["seconds"]
        for name, now in after.items():
            then = self._before[name]
            asked = {
                key: count - then.by(REQUESTS[name], "verb", "resource").get(key, 0.0)
                for key, count in now.by(REQUESTS[name], "verb", "resource").items()
            }
            found[f"{name}_requests_a_second"] = round(sum(asked.values()) / seconds, 2)
            found[f"{name}_requests"] = {
                key: round(count) for key, count in sorted(asked.items(), key=lambda e: -e[1]) if count
            }
        operator = {"before": self._before["operator"], "after": after["operator"]}
        looks = operator["after"].total(LOOKS) - operator["before"].total(LOOKS)
        spent = operator["after"].total(LOOK_SUM) - operator["before"].total(LOOK_SUM)
        found["looks_a_second"] = round(looks / seconds, 2)
        found["look_ms_mean"] = round(1000 * spent / looks, 1) if looks else None
        found["looks_failed"] = round(
            operator["after"].total(LOOKS, result="error") - operator["before"].total(LOOKS, result="error")
        )
        return found


async def _scrapes(release: Release) -> dict[str, Scrape]:
    return {name: await release.scraped(name) for name in REQUESTS if name in release.processes}


async def one_run(release: Release) -> dict[str, Any]:
    """A run alone; returns its status."""
    await release.start("operator")
    await release.create("first")
    await release.until(lambda: "first" in release.ended(), seconds=300, what="a run alone ends")
    await asyncio.sleep(3)
    status = release.runs.objects["first"]["status"]
    await release.stop("operator")
    return dict(status)


async def make_finished(release: Release, status: dict[str, Any], count: int) -> None:
    """Runs that have ended long ago, as this one did."""
    status = copy.deepcopy(status)
    status["completionTime"] = (datetime.now(UTC) - timedelta(hours=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
    turn = asyncio.Semaphore(8)

    async def one(number: int) -> None:
        async with turn:
            name = f"done-{number:05d}"
            await release.create(name)
            change = {"status": status}
            await release.api.patch(SELFIE_RUN, name, change, namespace=NAMESPACE, subresource="status")

    await asyncio.gather(*(one(number) for number in range(count)))


async def cold_start(release: Release) -> dict[str, Any]:
    """From the process's start until everything is listed, and until every run was looked at once."""
    known, began = len(release.runs.objects), time.monotonic()
    reconciling = release.log("operator").count('"reconciling"')
    await release.start("operator")
    spent = release.meter.window()
    await release.until(
        lambda: release.log("operator").count('"reconciling"') > reconciling,
        seconds=120,
        what="it reconciles",
    )
    synced = time.monotonic() - began
    while (now := await release.scraped("operator")).total(LOOKS) < known:
        await asyncio.sleep(0.5)
    looked = time.monotonic() - began
    writes = sum(now.total(REQUESTS["operator"], verb=verb) for verb in WRITES)
    writes -= sum(now.total(REQUESTS["operator"], verb=verb, resource="leases") for verb in WRITES)
    return {
        "runs": known,
        "synced_s": round(synced, 1),
        "all_looked_at_s": round(looked, 1),
        "operator_cpu_s": round(spent.figures()["cores"].get("operator", 0.0) * spent.seconds, 1),
        "writes": round(writes),
    }


async def start_runs(release: Release, gate: Gate, count: int, rate: float) -> dict[str, Any]:
    """Creates them at the rate; ends when each has its first Job at work."""
    phase, began, behind = await Phase.begin(release), time.monotonic(), gate.waiting
    for number in range(count):
        due = began + number / rate
        await asyncio.sleep(max(due - time.monotonic(), 0))
        await release.create(f"run-{number:05d}")
    created = time.monotonic() - began
    await release.until(lambda: gate.waiting - behind >= count, seconds=3600, what="each run has a Job")
    seconds = time.monotonic() - began
    found = await phase.figures()
    waits = create_to_job(release, count)
    return {
        "runs": count,
        "created_a_second": round(count / created, 2),
        "started_a_second": round(count / seconds, 2),
        "create_to_job_s": quantiles(waits),
        **found,
    }


def create_to_job(release: Release, count: int) -> list[float]:
    """Seconds from the request that made a run to the one that made its first Job, by the audit log."""
    began: dict[str, datetime] = {}
    waits: dict[str, float] = {}
    with release.cluster.layout.audit_log.open("rb") as lines:
        for line in lines:
            if b'"verb":"create"' not in line or not line.endswith(b"\n"):
                continue
            event = parsed(line)
            if event is None or event.namespace != NAMESPACE or event.code != 201:
                continue
            moment = datetime.fromisoformat(event.moment)
            if event.resource == "selfieruns" and event.name.startswith("run-"):
                began[event.name] = moment
            elif event.resource == "jobs" and event.name.startswith("run-"):
                run = event.name[: len("run-00000")]
                waits.setdefault(run, (moment - began[run]).total_seconds())
    assert len(waits) == count, (len(waits), count)
    return sorted(waits.values())


def requests_of_all(release: Release) -> dict[str, Any]:
    """What the API server was asked in all, by who asked for what, most first."""
    asked: Counter[str] = Counter()
    with release.cluster.layout.audit_log.open("rb") as lines:
        for line in lines:
            event = parsed(line) if line.endswith(b"\n") else None
            if event is not None:
                who = event.agent.partition("/")[0] if event.user == "admin" else event.user
                asked[f"{who.rpartition(':')[2]}: {event.verb} {event.rule[1]}"] += 1
    return {"all": asked.total(), **dict(asked.most_common(40))}


def quantiles(values: list[float]) -> dict[str, float]:
    """p50, p99 and the most."""
    if len(values) < 2:
        return {"most": round(values[-1], 2)}
    at = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": round(at[49], 2), "p99": round(at[98], 2), "most": round(max(values), 2)}


async def at_rest(release: Release, settle_s: float, seconds: float) -> dict[str, Any]:
    """What is asked and spent while nothing changes."""
    await asyncio.sleep(settle_s)
    phase = await Phase.begin(release)
    await asyncio.sleep(seconds)
    return await phase.figures()


async def all_rounds(release: Release, gate: Gate, count: int, patience_s: float) -> dict[str, Any]:
    """Lets all runs go, until each has ended, or the patience has."""
    phase, began, ledger = await Phase.begin(release), time.monotonic(), release.work.ledger
    half: float | None = None
    steps_before = len(ledger.published)
    release.open_gate(gate)
    while len(ends := _ends(release)) < count and time.monotonic() - began < patience_s:
        if half is None and len(ends) >= count / 2:
            half = time.monotonic() - began
        await asyncio.sleep(0.5)
    seconds = time.monotonic() - began
    found = await phase.figures()
    return {
        "all_ended_s": round(seconds, 1) if len(ends) == count else None,
        "half_ended_s": half and round(half, 1),
        "steps": len(ledger.published) - steps_before,
        "steps_a_second": round((len(ledger.published) - steps_before) / seconds, 1),
        "complete": ends.count("Complete"),
        "failed": ends.count("Failed"),
        "operator_ended_by_itself": release.ended_by_itself,
        "steps_done_twice": sum(
            number > 1 for number in (*ledger.published.values(), *ledger.begun.values())
        ),
        "wrong": ledger.wrong[:3],
        **found,
    }


def _ends(release: Release) -> list[str]:
    return [how for name, how in release.ended().items() if name.startswith("run-")]
