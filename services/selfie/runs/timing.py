"""Time: pauses between attempts, clocks that stop while the run waits, and what is left."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from statistics import fmean

from selfie.runs.observed import ManifestSummary, WorkObserved
from selfie.runs.spec import RunSpec
from selfie.runs.status import Failures, RunStatus
from selfie.runs.steps import Step

FIRST_PAUSE_S = 10.0
LONGEST_PAUSE_S = 300.0


def next_attempt_at(failures: Failures) -> datetime:
    """When the next attempt may start: 10 s after the first failure, then doubling up to 5 min."""
    pause = min(FIRST_PAUSE_S * 2 ** min(max(failures.count - 1, 0), 10), LONGEST_PAUSE_S)
    return failures.last_failure_time + timedelta(seconds=pause)


def active_seconds(status: RunStatus, now: datetime) -> float:
    """Time that counts for the run's deadline."""
    return _active(status.start_time, paused_seconds(status, now), now)


def stage_seconds(status: RunStatus, now: datetime) -> float:
    """Time that counts for the present stage's deadline."""
    paused = paused_seconds(status, now) - status.stage_paused_seconds
    return _active(status.stage_start_time, paused, now)


def seconds_to_deadline(spec: RunSpec, status: RunStatus, now: datetime) -> float | None:
    """Time until the first deadline passes, if it runs; None without any."""
    limits = spec.deadlines
    left = []
    if limits.run_seconds is not None:
        left.append(limits.run_seconds - active_seconds(status, now))
    if limits.stage_seconds is not None:
        left.append(limits.stage_seconds - stage_seconds(status, now))
    return max(min(left), 0.0) if left else None


def paused_seconds(status: RunStatus, now: datetime) -> float:
    """All time so far that does not count."""
    present = (now - status.paused_since).total_seconds() if status.paused_since else 0.0
    return status.paused_seconds + max(present, 0.0)


def eta_seconds(
    rest: Sequence[Step], manifests: Mapping[str, ManifestSummary], work: WorkObserved | None
) -> int | None:
    """Estimate for the steps in ``rest``, the first of which ``work`` is; None without any experience.

    A step is taken to last as long as its like did so far, or else as the average step.
    """
    past: dict[str, list[float]] = {}
    for path, manifest in manifests.items():
        if _is_usable(manifest.seconds):
            past.setdefault(path.rpartition("/")[2], []).append(manifest.seconds or 0.0)
    every = [seconds for entries in past.values() for seconds in entries]
    if not every:
        return None
    expected = [fmean(past.get(step.name, every)) for step in rest]
    if expected and work is not None and work.step == rest[0] and _is_usable(work.eta_s):
        expected[0] = work.eta_s or 0.0
    return round(sum(expected))


def _is_usable(seconds: float | None) -> bool:
    return seconds is not None and 0 <= seconds <= 1e9


def _active(start: datetime | None, paused: float, now: datetime) -> float:
    return max((now - start).total_seconds() - paused, 0.0) if start else 0.0
