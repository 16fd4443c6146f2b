"""Makes a run's own services as they are wanted: each object is looked at live before it is changed."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from selfie.errors import AlreadyExists, FailedPrecondition, InvalidInput, NotFound, PermissionDenied
from selfie.kube.api import Api
from selfie.kube.labels import COMPONENT
from selfie.kube.objects import DEPLOYMENT, POD, SERVICE, Kind, Object, controller_uid_of, labels_of, name_of
from selfie.runs import reasons
from selfie.runs.observed import ServiceObserved
from selfie_operator.reconciling.children import OWN, Goals, child_name
from selfie_operator.reconciling.differences import Create, Delete, Replace, Taken, change_of, mark_of
from selfie_operator.reconciling.record import OutdatedError, Record
from selfie_operator.reconciling.sightings import sighting
from selfie_operator.reconciling.subject import Subject


class Children(Protocol):
    """What the watches have told of the children of runs."""

    def of_run(self, kind: Kind, run_uid: str) -> list[Object]:
        """Those of a kind that carry the run's UID as a label; they may be shared, and are never changed."""
        ...


@dataclass(frozen=True)
class OwnObjects:
    """One service's objects as the watches have told of them."""

    deployment: Object | None
    service: Object | None
    pods: tuple[Object, ...]

    @property
    def are_gone(self) -> bool:
        """Whether nothing is left of it."""
        return self.deployment is None and self.service is None and not self.pods

    def seen(self) -> ServiceObserved | None:
        """The service, as far as its objects show it."""
        return sighting(self.deployment, self.service, self.pods)


def own_objects(children: Children, service: str, run_uid: str) -> OwnObjects:
    """What there is of the service; what only carries the run's label is somebody else's."""
    name = child_name(service, run_uid)

    def named(kind: Kind) -> Object | None:
        own = (found for found in children.of_run(kind, run_uid) if controller_uid_of(found) == run_uid)
        return next((found for found in own if name_of(found) == name), None)

    pods = (pod for pod in children.of_run(POD, run_uid) if labels_of(pod).get(COMPONENT) == service)
    return OwnObjects(named(DEPLOYMENT), named(SERVICE), tuple(sorted(pods, key=name_of)))


class Settling:
    """Changes children through the API server, for runs that are confirmed."""

    def __init__(self, api: Api, children: Children) -> None:
        self._api = api
        self._children = children

    async def settle(
        self, record: Record, goals: Goals, *, keep_addresses: bool = False
    ) -> dict[str, ServiceObserved]:
        """Makes what the goals say, and lets go of the rest; returns what can't be made, and why.

        ``keep_addresses``: a Service without pods holds nothing, and may stay for the next ones.
        """
        refused: dict[str, ServiceObserved] = {}
        for service in OWN:
            found = own_objects(self._children, service, record.subject.uid)
            seen = found.seen()
            works = seen is not None and seen.ready
            # Whom the Service reaches is changed first: pods of the last weights are cut off before
            # there are others.
            for kind, known in ((SERVICE, found.service), (DEPLOYMENT, found.deployment)):
                goal = goals.get(service, {}).get(kind)
                if goal is None and kind == SERVICE and keep_addresses:
                    continue
                problem = await self._bring(record, kind, goal, known, spare_pods=works)
                if problem is not None:
                    refused[service] = problem
                    break
            else:
                await self._tell(record, goals.get(service, {}).get(POD), found.pods)
        return refused

    async def _bring(
        self, record: Record, kind: Kind, goal: Object | None, known: Object | None, *, spare_pods: bool
    ) -> ServiceObserved | None:
        subject = record.subject
        if change_of(kind, goal, known, subject.uid, spare_pods=spare_pods) is None:
            return None
        await record.confirm()
        name = name_of(goal or known or {})
        live = await self._api.get(kind, name, namespace=subject.namespace)
        match change_of(kind, goal, live, subject.uid, spare_pods=spare_pods):
            case Create(wanted):
                return await self._create(kind, wanted, subject)
            case Replace(wanted):
                await self._replace(kind, wanted)
            case Delete(name, uid):
                await self._api.delete(kind, name, uid=uid, namespace=subject.namespace)
            case Taken(name):
                return _taken(kind, name)
        return None

    async def _tell(self, record: Record, goal: Object | None, pods: Sequence[Object]) -> None:
        """Tells pods that stay where they are which weights they are to have."""
        for pod in pods:
            mark = mark_of(goal, pod) if goal is not None else None
            if mark is None:
                continue
            await record.confirm()
            # One that is gone, or is another by now, the watch will tell of.
            with suppress(NotFound, FailedPrecondition):
                await self._api.patch(POD, name_of(pod), mark, namespace=record.subject.namespace)

    async def _create(self, kind: Kind, wanted: Object, subject: Subject) -> ServiceObserved | None:
        try:
            await self._api.create(kind, wanted, namespace=subject.namespace)
        except AlreadyExists:
            # Made since it was looked for: by this operator's last breath, or by somebody else.
            live = await self._api.get(kind, name_of(wanted), namespace=subject.namespace)
            if isinstance(change_of(kind, wanted, live, subject.uid), Taken):
                return _taken(kind, name_of(wanted))
        except (PermissionDenied, InvalidInput) as error:
            return ServiceObserved(ready=False, reason=reasons.POD_REFUSED, message=str(error))
        return None

    async def _replace(self, kind: Kind, wanted: Object) -> None:
        try:
            await self._api.replace(kind, wanted)
        except (FailedPrecondition, NotFound) as error:
            raise OutdatedError(str(error)) from error


def _taken(kind: Kind, name: str) -> ServiceObserved:
    message = f"the {kind.kind} {name} belongs to somebody else; delete it, and the run goes on"
    return ServiceObserved(ready=False, reason=reasons.NAME_TAKEN, message=message)
