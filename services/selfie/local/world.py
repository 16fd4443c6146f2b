"""This machine as the planner sees it, and as it carries the planner's decisions out."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import grpc

from selfie import errors
from selfie.artifacts.published import PublishedSteps
from selfie.dispatch import work
from selfie.dispatch.calls import StepCall
from selfie.dispatch.services import GRPC_SERVICES, engine_digest
from selfie.local.launches import Launches
from selfie.local.places import LocalRun
from selfie.local.processes import Processes
from selfie.runs.actions import Action, CancelStep, StartStep, WorkAhead
from selfie.runs.observed import Observed, ServiceObserved, StoreObserved, WorkObserved
from selfie.runs.status import RunStatus
from selfie.runs.steps import ENGINE, SCORING, Step, step_at
from selfie.runs.wanted import ServiceWanted

if TYPE_CHECKING:
    from selfie.local.external import ExternalEngine


class LocalWorld:
    """Observes and acts for one run with processes of this machine."""

    def __init__(
        self,
        local: LocalRun,
        processes: Processes,
        launches: Launches,
        *,
        model_cache: Path,
        engine: "ExternalEngine | None" = None,
    ) -> None:
        self._local = local
        self._engine = engine
        self._processes = processes
        self._launches = launches
        self._model_cache = model_cache
        self._published = PublishedSteps(local.store)
        self._refused: dict[tuple[Step, int], WorkObserved] = {}
        self._holding: dict[str, dict[str, str]] = {}

    async def observe(self, status: RunStatus) -> Observed:
        """Everything there is to see; what cannot be reached is absent, not an error."""
        try:
            manifests = await asyncio.to_thread(self._published.look, self._local.run.spec)
        except errors.Unavailable as error:
            return Observed(store=StoreObserved(ready=False, reason=error.reason, message=str(error)))
        return Observed(
            manifests=manifests,
            work=await self._observe_work(status),
            services=await self._observe_services(),
        )

    async def reconcile(self, wanted: Mapping[str, ServiceWanted]) -> None:
        """Makes the wanted services run, and no other of the run's own."""
        ours = wanted if self._engine is None else await self._want_engine(self._engine, wanted)
        own = await asyncio.to_thread(self._launches.own, ours)
        for name in (ENGINE, SCORING):
            if name not in own:
                self._holding.pop(name, None)
            else:
                weights = wanted[name].weights
                self._holding[name] = {role: entry.weights_digest or "" for role, entry in weights.items()}
        await self._processes.reconcile({**self._launches.shared(), **own})

    async def act(self, action: Action) -> None:
        """Carries one action out; what a service refuses is seen at the next look."""
        channel = await self._processes.channel(action.step.service)
        if channel is None:
            return
        match action:
            case StartStep():
                await self._start(channel, action)
            case CancelStep():
                # The planner asks again until the work is seen to be gone.
                with suppress(errors.Unavailable):
                    await work.cancel(channel, self._local.uri, action.step, action.attempt)
            case WorkAhead():
                # All of a machine's processes share its processors: nothing would be won.
                return

    def failure(self) -> str | None:
        """Why a service is given up on, or None."""
        found = (self._processes.failure(name) for name in GRPC_SERVICES)
        return next((message for message in found if message), None)

    async def _want_engine(
        self, engine: "ExternalEngine", wanted: Mapping[str, ServiceWanted]
    ) -> Mapping[str, ServiceWanted]:
        """Tells an engine that is not ours what is wanted of it; returns what else is wanted."""
        if ENGINE in wanted:
            policy = wanted[ENGINE].weights["policy"]
            engine.want(await asyncio.to_thread(self._launches.weights, policy), policy.weights_digest or "")
        else:
            engine.release()
        return {name: entry for name, entry in wanted.items() if name != ENGINE}

    async def _start(self, channel: grpc.aio.Channel, action: StartStep) -> None:
        local = self._local
        call = StepCall(local.run, local.uri, local.uid, action.step, action.attempt, action.inputs)
        cache = self._model_cache if action.step.name == "prepare" else self._launches.cache
        try:
            await work.start(channel, call, cache)
        except errors.SelfieError as error:
            if error.retryable:
                return
            self._refused[action.step, action.attempt] = WorkObserved(
                action.step,
                action.attempt,
                "failed",
                message=str(error),
                reason=error.reason,
                retryable=False,
            )

    async def _observe_work(self, status: RunStatus) -> WorkObserved | None:
        step = step_at(status.step) if status.step else None
        if step is None or not status.attempt:
            return None
        if (step, status.attempt) in self._refused:
            return self._refused[step, status.attempt]
        channel = await self._processes.channel(step.service)
        if channel is None:
            return WorkObserved(step, status.attempt, "absent")
        return await work.observe(channel, self._local.uri, step, status.attempt)

    async def _observe_services(self) -> dict[str, ServiceObserved]:
        found = {}
        for name in self._processes.names():
            channel = await self._processes.channel(name)
            ready = channel is not None
            digests = dict(self._holding.get(name, {}))
            if name == ENGINE and channel is not None:
                digests = {"policy": await engine_digest(channel)}
            found[name] = ServiceObserved(ready, digests, message="" if ready else f"{name} is loading")
        external = await self._engine.observed() if self._engine is not None else None
        return found if external is None else {**found, ENGINE: external}
