"""When a restart would help: what the probes say, from what the process knows of itself.

Liveness must tell a dead watch from an API server that cannot be reached: a restart mends the
first and makes the second worse, by the kubelet's own growing waits between restarts. Nor does one
mend a Role that is missing.
"""

from collections.abc import Mapping
from dataclasses import dataclass

DEAD_WATCH_S = 180
UNREACHED_S = 900
REACHED_LATELY_S = 60
STUCK_MARGIN_S = 60
LONGEST_LAG_S = 10


@dataclass(frozen=True, kw_only=True)
class Vitals:
    """Ages and waits, in seconds.

    ``watches``: since each watch last brought anything. ``refusals``: what the server says to those
    that it refuses. ``reached``: since the API server last
    answered anything. ``stuck``: since any worker moved while a run waits; ``look``: the longest
    that one look may take. ``lag``: how late the event loop ran, lately.
    """

    watches: Mapping[str, float]
    refusals: Mapping[str, str]
    reached: float
    stuck: float
    look: float
    lag: float
    synced: bool
    lost_lease: bool


def ailments(vitals: Vitals) -> list[str]:
    """Why the process should be restarted; empty for a healthy one."""
    found = []
    bound = DEAD_WATCH_S if vitals.reached < REACHED_LATELY_S else UNREACHED_S
    found += [
        f"watch of {resource} silent for {age:.0f} s"
        for resource, age in vitals.watches.items()
        if age > bound and resource not in vitals.refusals
    ]
    if vitals.reached > UNREACHED_S:
        found.append(f"API server not reached for {vitals.reached:.0f} s")
    if vitals.stuck > vitals.look + STUCK_MARGIN_S:
        found.append(f"no worker has moved for {vitals.stuck:.0f} s")
    if vitals.lag > LONGEST_LAG_S:
        found.append(f"event loop late by {vitals.lag:.1f} s")
    if vitals.lost_lease:
        found.append("lease lost")
    return found


def obstacles(vitals: Vitals) -> list[str]:
    """Why the process is not ready; a standby that waits for the Lease is."""
    found = list(vitals.refusals.values())
    if not vitals.synced:
        found.append("not everything is listed yet")
    if vitals.reached > REACHED_LATELY_S:
        found.append(f"API server not reached for {vitals.reached:.0f} s")
    return found + (["lease lost"] if vitals.lost_lease else [])
