"""Which replica a prompt goes to. Pure.

An engine keeps what it has computed of a prompt, so all samples of a prompt, and the same prompt
asked again, should meet the same replica: each prompt has its own order of all replicas, which
does not change when others come or go (rendezvous hashing). It goes to the first of them that is
not much busier than the least busy one.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# How much busier than the least busy one, as a share of what it takes at once, a prompt's own may be.
SLACK = 0.25


@dataclass(frozen=True, slots=True)
class Load:
    """Requests that a replica is working on, and how many it may be asked for at once."""

    in_flight: int
    permits: int

    @property
    def share(self) -> float:
        """How busy it is; 1 is as busy as it may be."""
        return self.in_flight / self.permits


def preference(key: bytes, names: Iterable[str]) -> list[str]:
    """All replicas in the order of a prompt's own liking."""
    return sorted(names, key=lambda name: hashlib.blake2b(name.encode(), key=key, digest_size=8).digest())


def pick(loads: Mapping[str, Load], key: bytes) -> str | None:
    """The replica for the prompt with this key (at most 64 bytes); None if all are as busy as they may be."""
    free = {name: load for name, load in loads.items() if load.in_flight < load.permits}
    if not free:
        return None
    bound = min(load.share for load in free.values()) + SLACK
    return next(name for name in preference(key, free) if free[name].share <= bound)
