"""How many runs are in which phase: read off the cache when Prometheus asks, so that none is forgotten."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from selfie.kube.objects import Object
from selfie.runs import reasons

PHASES: Final = ("pending", "queued", "suspended", "active", "stalled", "complete", "failed")
"""Each run is in exactly one of them."""


class PhasesCollector(Collector):
    """Counts these runs, whatever they are by then."""

    def __init__(self, runs: Iterable[Object]) -> None:
        self._runs = runs

    def collect(self) -> Iterator[Metric]:
        """Every phase, those in which there is none too."""
        family = GaugeMetricFamily("selfie_runs", "Runs, by phase.", labels=["phase"])
        counts = Counter(dict.fromkeys(PHASES, 0))
        counts.update(map(phase_of, self._runs))
        for phase, count in counts.items():
            family.add_metric([phase], count)
        yield family


@contextmanager
def told_of(runs: Iterable[Object], registry: CollectorRegistry = REGISTRY) -> Iterator[None]:
    """Prometheus is told of these runs while inside: of several operators, by the one that acts."""
    collector = PhasesCollector(runs)
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
