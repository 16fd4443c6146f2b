"""What Prometheus is told of the runs: read off the cache when it asks, so that nothing outlives its run.

A run has series of its own only while it is going on: a namespace may see many thousands of them.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from selfie.kube.objects import Object, name_of, namespace_of
from selfie.runs import reasons

PHASES: Final = ("pending", "queued", "suspended", "active", "stalled", "complete", "failed")
"""Each run is in exactly one of them."""
_OVER: Final = {"complete", "failed"}
_OWN: Final = ("namespace", "run")


class RunsCollector(Collector):
    """Metrics of these runs, whatever they are by then."""

    def __init__(self, runs: Iterable[Object]) -> None:
        self._runs = runs

    def collect(self) -> Iterator[Metric]:
        """How many runs are in each phase, and how far those are that are going on."""
        phases = GaugeMetricFamily("selfie_runs", "Runs, by phase.", labels=["phase"])
        place = GaugeMetricFamily(
            "selfie_run_info", "Where a run is that is going on.", labels=[*_OWN, "phase", "stage"]
        )
        series = {
            "round": GaugeMetricFamily("selfie_run_round", "Its present round.", labels=_OWN),
            "attempt": GaugeMetricFamily("selfie_run_attempt", "Its attempt at the step.", labels=_OWN),
            "fraction": GaugeMetricFamily(
                "selfie_run_progress_ratio", "How much of it is done.", labels=_OWN
            ),
        }
        counts = Counter(dict.fromkeys(PHASES, 0))
        for found in self._runs:
            phase = phase_of(found)
            counts[phase] += 1
            status = found.get("status") or {}
            if phase in _OVER or not status.get("attempt"):
                continue
            own = [namespace_of(found), name_of(found)]
            place.add_metric([*own, phase, str(status.get("stage") or "")], 1)
            for name, family in series.items():
                family.add_metric(own, float(status.get(name) or 0))
        for phase, count in counts.items():
            phases.add_metric([phase], count)
        yield from (phases, place, *series.values())


@contextmanager
def told_of(runs: Iterable[Object], registry: CollectorRegistry = REGISTRY) -> Iterator[None]:
    """Prometheus is told of these runs while inside: of several operators, by the one that acts."""
    collector = RunsCollector(runs)
    registry.register(collector)
    try:
        yield
    finally:
        registry.unregister(collector)


def phase_of(found: Object) -> str:
    """One of `PHASES`, by the conditions that are written."""
    entries = {entry.get("type"): entry for entry in (found.get("status") or {}).get("conditions") or ()}

    def holds(kind: str) -> bool:
        return bool(_entry(entries, kind).get("status") == "True")

    if holds("Complete"):
        return "complete"
    if holds("Failed"):
        return "failed"
    if holds("Suspended"):
        return "queued" if _entry(entries, "Suspended").get("reason") == reasons.QUEUED else "suspended"
    if holds("Stalled"):
        return "stalled"
    return "active" if entries else "pending"


def _entry(entries: Mapping[Any, Mapping[str, Any]], kind: str) -> Mapping[str, Any]:
    return entries.get(kind) or {}
