"""Whose turn it is: at most so many runs are active at a time, first come, first served.

A run that is active keeps its place whatever comes; one that waits gets its turn by the time of
its creation, then by its name. A run that is suspended, or that cannot begin, is passed over.
"""

from collections.abc import Iterable
from typing import Final

from selfie.kube.objects import Object, is_going, name_of, namespace_of, uid_of

_EXACT: Final = 20


def runs_before(run: Object, runs: Iterable[Object], limit: int) -> int | None:
    """Number of waiting runs that come before ``run``; None if it may be active now."""
    if is_active(run):
        return None
    own = _order(run)
    active = before = 0
    for other in runs:
        if uid_of(other) == uid_of(run) or _is_out(other):
            continue
        if is_active(other):
            active += 1
        elif not _cannot_begin(other) and _order(other) < own:
            before += 1
    return None if active + before < limit else before


def is_active(run: Object) -> bool:
    """Whether the run has its turn: it has begun, and was not made to wait again since."""
    status = run.get("status") or {}
    return not _is_out(run) and status.get("attempt", 0) > 0 and not _has(status, "Suspended")


def told_before(before: int) -> str:
    """How many runs come before, rounded where they are many: the status need not follow each step."""
    if before == 0:
        return "it is the next one"
    if before <= _EXACT:
        return f"{before} {'is' if before == 1 else 'are'} before it"
    unit = int(10 ** (len(str(before)) - 2))
    return f"about {before // unit * unit} are before it"


def look_again_s(before: int) -> float:
    """Seconds until it is looked at again: the sooner, the sooner it may have its turn."""
    return min(2.0 + before, 300.0)


def _is_out(run: Object) -> bool:
    spec, status = run.get("spec") or {}, run.get("status") or {}
    ended = _has(status, "Complete") or _has(status, "Failed")
    return ended or is_going(run) or spec.get("suspend") is True or spec.get("cancel") is True


def _cannot_begin(run: Object) -> bool:
    status = run.get("status") or {}
    # A store that is away holds up all runs alike; passed over, they would all begin when it is back.
    return _has(status, "Stalled") and not _has(status, "ArtifactStoreReady", "False")


def _has(status: Object, kind: str, value: str = "True") -> bool:
    entries = status.get("conditions") or ()
    return any(entry.get("type") == kind and entry.get("status") == value for entry in entries)


def _order(run: Object) -> tuple[str, str, str]:
    # Times of the API are written alike, so their order as text is their order in time.
    return str(run["metadata"].get("creationTimestamp", "")), namespace_of(run), name_of(run)
