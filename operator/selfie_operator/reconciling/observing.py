"""A look at the world of one run: what is published, how the work stands, which services there are."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from selfie.errors import FailedPrecondition, Unavailable
from selfie.runs.lineage import added_rounds
from selfie.runs.observed import ManifestSummary, Observed, ServiceObserved, StoreObserved, WorkObserved
from selfie.runs.spec import RunSpec, SelfieRun
from selfie.runs.status import RunStatus
from selfie.runs.steps import ENGINE, Step, step_at, steps_of
from selfie_operator.keys import NotLeader
from selfie_operator.reconciling.archives import Archive, Archives
from selfie_operator.reconciling.children import OWN
from selfie_operator.reconciling.services import RunPlace, Services
from selfie_operator.reconciling.settling import Children, own_objects
from selfie_operator.reconciling.subject import Subject


@dataclass(frozen=True)
class Sight:
    """What a look found, and the archive in which it looked; None where that could not be opened."""

    observed: Observed
    archive: Archive | None


class Observer:
    """Looks; what cannot be reached is absent, and not an error."""

    def __init__(self, archives: Archives, services: Services, children: Children) -> None:
        self._archives = archives
        self._services = services
        self._children = children

    async def look(
        self, subject: Subject, run: SelfieRun, at: RunPlace, *, engine_moves: bool = False
    ) -> Sight:
        """Everything that the planner wants to know of a run that is going on.

        ``engine_moves``: its engine can be moved where it stands, and what moves it can be asked.
        """
        generation, spec = subject.generation, run.spec
        try:
            archive = await self._archives.of(at.uri)
            if not subject.is_told_of:
                await archive.begin(run, at.uid)
            manifests = await archive.manifests(spec)
        except NotLeader:
            raise
        except (Unavailable, FailedPrecondition) as error:
            # That it cannot be reached is the one reason that needs no other word.
            reason = error.reason if isinstance(error, FailedPrecondition) else ""
            store = StoreObserved(ready=False, reason=reason, message=str(error))
            # A run can be stopped all the same.
            work = await self.work(subject.status, at)
            return Sight(Observed(store=store, work=work, generation=generation), None)
        work = await self.work(subject.status, at, manifests)
        observed = Observed(manifests=manifests, work=work, generation=generation, engine_moves=engine_moves)
        services = self.own_services(subject.uid)
        works = work is not None and work.is_live
        if not (works or spec.suspend or spec.cancel):
            # Who works has what he needs, and asks himself whether it is still the same.
            answers = spec.generation.engine == "embedded" or engine_moves
            services = await self._asked(services, at, engine_answers=answers)
            services |= await self._shared(spec, manifests, at)
        return Sight(replace(observed, services=services), archive)

    async def work(
        self, status: RunStatus, at: RunPlace, manifests: Mapping[str, ManifestSummary] | None = None
    ) -> WorkObserved | None:
        """The work of the attempt that the status names, unless its step is published."""
        step = step_at(status.step) if status.step else None
        if step is None or not status.attempt or step.path in (manifests or {}):
            return None
        return await self._services.observe(at, step, status.attempt)

    def own_services(self, run_uid: str) -> dict[str, ServiceObserved]:
        """The run's own services that are there."""
        seen = {name: own_objects(self._children, name, run_uid).seen() for name in OWN}
        return {name: found for name, found in seen.items() if found is not None}

    def is_rid_of_everything(self, run_uid: str) -> bool:
        """Whether nothing is left of the run's own services."""
        return all(own_objects(self._children, name, run_uid).are_gone for name in OWN)

    async def archive(self, at: RunPlace) -> Archive:
        """What lies below the run's root."""
        return await self._archives.of(at.uri)

    async def _asked(
        self, seen: dict[str, ServiceObserved], at: RunPlace, *, engine_answers: bool
    ) -> dict[str, ServiceObserved]:
        """The same, with each that looks ready asked whether it is.

        A server behind HTTP with nobody beside it is asked by the generation service alone, which proves
        who it is before the first sample and with every shard; here its own probe counts.
        """
        asked = dict(seen)
        for name, found in seen.items():
            if not found.ready or (name == ENGINE and not engine_answers):
                continue
            if not await self._services.is_ready(name, at):
                asked[name] = replace(found, ready=False, message="it does not answer yet")
            elif name == ENGINE:
                asked[name] = replace(found, digests={"policy": await self._services.engine_digest(at)})
        return asked

    async def _shared(
        self, spec: RunSpec, manifests: Mapping[str, ManifestSummary], at: RunPlace
    ) -> dict[str, ServiceObserved]:
        """The shared service that the present step would go to."""
        step = _present(spec, manifests)
        if step is None or step.service in OWN:
            return {}
        ready = await self._services.is_ready(step.service, at)
        message = "" if ready else f"the {step.service} service of the release does not answer"
        return {step.service: ServiceObserved(ready=ready, message=message)}


def _present(spec: RunSpec, manifests: Mapping[str, ManifestSummary]) -> Step | None:
    steps = steps_of(spec, added_rounds(spec, manifests))
    return next((step for step in steps if step.path not in manifests), None)
