"""What the API server says it was asked."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ACCOUNT = "system:serviceaccount:"


@dataclass(frozen=True)
class Event:
    """One request that was answered; names are those of RBAC rules."""

    user: str
    verb: str
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str
    code: int
    agent: str
    moment: str
    """When the request came, RFC 3339 with microseconds."""

    @property
    def account(self) -> str:
        """``namespace:name`` of the ServiceAccount that asked; empty for other users."""
        return self.user.removeprefix(_ACCOUNT) if self.user.startswith(_ACCOUNT) else ""

    @property
    def rule(self) -> tuple[str, str, str]:
        """Group, resource with subresource, and verb: what a Role must grant for it."""
        return self.group, "/".join(filter(None, (self.resource, self.subresource))), self.verb


def events(log: Path) -> Iterator[Event]:
    """Requests for objects, in the order in which they were answered; a line being written is left out."""
    if not log.exists():
        return
    with log.open() as lines:
        for line in lines:
            if not line.endswith("\n"):
                return
            event = parsed(line)
            if event is not None:
                yield event


def parsed(line: str | bytes) -> Event | None:
    """The request of one line of the log; None if it was not for an object."""
    found: dict[str, Any] = json.loads(line)
    if "objectRef" not in found:
        return None
    target = found["objectRef"]
    return Event(
        user=found["user"]["username"],
        verb=found["verb"],
        group=target.get("apiGroup", ""),
        resource=target.get("resource", ""),
        subresource=target.get("subresource", ""),
        namespace=target.get("namespace", ""),
        name=target.get("name", ""),
        code=found.get("responseStatus", {}).get("code", 0),
        agent=found.get("userAgent", ""),
        moment=found["requestReceivedTimestamp"],
    )
