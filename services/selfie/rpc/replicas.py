"""This process as one of the replicas of its service: its name in the store, and where it may write."""

import platform
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from selfie.artifacts.store import Store
from selfie.rpc.operations import Method, OperationRunner
from selfie.rpc.settings import ServerSettings
from selfie.rpc.stores import store_opener


@dataclass(frozen=True, kw_only=True)
class Replica:
    """``owner`` names the process, and no other one; ``lease_s`` is how old its heartbeats may get."""

    owner: str
    open_store: Callable[[str], Store]
    lease_s: float = 30

    @classmethod
    def of(cls, service: str, settings: ServerSettings) -> "Replica":
        """This process, as a replica of the service of that name."""
        return cls(
            owner=f"{service}-{platform.node()}-{uuid.uuid4().hex[:8]}",
            open_store=store_opener(settings.artifact_roots),
            lease_s=settings.lease_seconds,
        )

    def runner(self, methods: Mapping[str, Method]) -> OperationRunner:
        """What starts the operations of these methods here and answers for those of all replicas."""
        return OperationRunner(
            open_store=self.open_store, owner=self.owner, lease_s=self.lease_s, methods=methods
        )
