"""What Prometheus is told of runs as they move: read off two statuses, as Events are.

Durations come from times in the status, so an operator that was started in between knows them too.
"""

from prometheus_client import Counter, Histogram

from selfie.runs.conditions import has_status
from selfie.runs.status import RunStatus

STAGE_SECONDS = Histogram(
    "selfie_round_stage_duration_seconds",
    "Time that a stage of a round took, without pauses.",
    ["stage"],
    buckets=(5, 15, 60, 180, 600, 1800, 3600, 3 * 3600, 8 * 3600, 24 * 3600),
)
ENDED = Counter("selfie_runs_ended", "Runs that have ended, by how.", ["outcome"])
FAILED_ATTEMPTS = Counter("selfie_attempts_failed", "Attempts at a step that have failed.", ["stage"])


def count(before: RunStatus, after: RunStatus) -> None:
    """Takes note of what happened between the two."""
    ends = after.is_terminal and not before.is_terminal
    if ends:
        complete = has_status(after.conditions, "Complete", "True")
        ENDED.labels("complete" if complete else "failed").inc()
    seconds = stage_seconds(before, after)
    if before.stage is not None and seconds is not None:
        STAGE_SECONDS.labels(before.stage).observe(seconds)
    failures = after.failures
    if failures is not None and (before.failures is None or before.failures.count != failures.count):
        FAILED_ATTEMPTS.labels(after.stage or "").inc()


def stage_seconds(before: RunStatus, after: RunStatus) -> float | None:
    """How long the stage took that has just been left; None if none was."""
    began = before.stage_start_time
    if began is None or before.is_terminal:
        return None
    if after.is_terminal:
        left = after.completion_time
    else:
        left = after.stage_start_time if after.stage_start_time != began else None
    if left is None:
        return None
    paused = (after.paused_seconds if after.is_terminal else after.stage_paused_seconds) or 0.0
    return max((left - began).total_seconds() - (paused - before.stage_paused_seconds), 0.0)
