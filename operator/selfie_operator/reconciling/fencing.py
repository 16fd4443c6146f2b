"""Only who holds the Lease acts: that is asked before each act, and not only when a look begins.

A process may be stopped in the middle of a look, and woken when another has led for minutes. Writes
to the API server are fenced where they are sent (`selfie.kube.transport`), calls and files here.
"""

from collections.abc import Callable
from dataclasses import dataclass

from selfie.artifacts.store import Store
from selfie.dispatch.calls import StepCall
from selfie.runs.lineage import Source
from selfie.runs.observed import WorkObserved
from selfie.runs.steps import Step
from selfie_operator.keys import Check
from selfie_operator.reconciling.services import RunPlace, Services


@dataclass(frozen=True)
class FencedServices:
    """Services that are asked to do something only if ``check`` does not raise; see `Services`."""

    services: Services
    check: Check

    async def is_ready(self, service: str, at: RunPlace) -> bool:
        """Whether the service says that it can work."""
        return await self.services.is_ready(service, at)

    async def engine_digest(self, at: RunPlace) -> str:
        """Digest of the weights that the run's engine says it serves; empty if it says nothing."""
        return await self.services.engine_digest(at)

    async def observe(self, at: RunPlace, step: Step, attempt: int) -> WorkObserved:
        """How the attempt stands; absent where the service cannot be reached."""
        return await self.services.observe(at, step, attempt)

    async def start(self, at: RunPlace, call: StepCall) -> None:
        """Starts the attempt, or takes it up again."""
        self.check()
        await self.services.start(at, call)

    async def start_ahead(self, at: RunPlace, call: StepCall, source: Source) -> None:
        """Begins what can be done of the call's step while ``source`` is being made, or finds it begun."""
        self.check()
        await self.services.start_ahead(at, call, source)

    async def cancel(self, at: RunPlace, step: Step, attempt: int) -> None:
        """Stops the attempt; one that is not there is as good as stopped."""
        self.check()
        await self.services.cancel(at, step, attempt)


def fenced(open_store: Callable[[str], Store], check: Check) -> Callable[[str], Store]:
    """Opens stores that are written to only if ``check`` does not raise."""
    return lambda uri: open_store(uri).guarded(check)
