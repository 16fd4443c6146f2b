"""The runs of one process for Prometheus: told as looks go on, collected when it asks."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from selfie.monitoring.families import HELP, figures_of_rounds, figures_of_run
from selfie.monitoring.gauges import Gauges, Sample
from selfie.monitoring.sights import RunName, RunSight
from selfie.runs.observed import Observed
from selfie.runs.spec import RunSpec
from selfie.runs.status import RunStatus

LINGER: Final = timedelta(minutes=15)
"""How long a run that has ended is still told of: its last figures want to be scraped, and then to go."""

DETAILED: Final = 100
"""Runs whose rounds are told of, the latest to begin: of a thousand at once, nobody reads each round's."""


class RunBoard(Gauges):
    """Figures of all runs that are active, or ended a moment ago; may be used from many threads."""

    def __init__(
        self,
        *,
        linger: timedelta = LINGER,
        detailed: int = DETAILED,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        super().__init__(HELP)
        self._linger = linger
        self._detailed = detailed
        self._now = now
        self._lock = threading.Lock()
        self._sights: dict[RunName, RunSight] = {}

    def tell(self, name: RunName, status: RunStatus) -> None:
        """The run stands so now."""
        with self._lock:
            if self._is_over(status, self._now()):
                self._sights.pop(name, None)
            else:
                self._sights[name] = self._sights.get(name, RunSight()).told(status)

    def observe(self, name: RunName, spec: RunSpec, observed: Observed) -> None:
        """A look has found this of the run."""
        with self._lock:
            self._sights[name] = self._sights.get(name, RunSight()).seen(spec, observed)

    def forget(self, name: RunName) -> None:
        """The run is gone, and its series with it."""
        with self._lock:
            self._sights.pop(name, None)

    def samples(self) -> Iterator[Sample]:
        """Every figure of the runs that are told of."""
        now = self._now()
        for place, (name, sight) in enumerate(self._present(now)):
            rounds = figures_of_rounds(sight) if place < self._detailed else ()
            for family, labels, value in (*figures_of_run(sight, now), *rounds):
                yield family, {"namespace": name.namespace, "run": name.name, **labels}, value

    def _present(self, now: datetime) -> list[tuple[RunName, RunSight]]:
        """Those to be told of, the latest to begin first."""
        with self._lock:
            for name, sight in list(self._sights.items()):
                if self._is_over(sight.status, now):
                    del self._sights[name]
            found = sorted(self._sights.items())
        return sorted(found, key=lambda entry: entry[1].status.start_time or now, reverse=True)

    def _is_over(self, status: RunStatus, now: datetime) -> bool:
        ended = status.completion_time
        return status.is_terminal and (ended is None or now - ended > self._linger)
