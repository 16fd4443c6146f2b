"""Looks up what `selfie.training.cluster.authority` decides by: the run, and what it has made so far."""

import asyncio
import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from pydantic import JsonValue

from selfie.artifacts.digests import digest_bytes
from selfie.artifacts.programs import Attempt
from selfie.artifacts.published import PublishedSteps
from selfie.artifacts.store import Store
from selfie.errors import OutOfDate
from selfie.kube.api import Api
from selfie.kube.frozen import Frozen, frozen_from
from selfie.kube.objects import CONFIG_MAP, SELFIE_RUN, Object
from selfie.kube.pod_settings import ContainerSettings, begun_with
from selfie.runs.names import frozen_name
from selfie.training.cluster.authority import (
    Asked,
    carried_out,
    require_equal,
    require_intent,
    require_place,
    required_parameters,
)
from selfie.training.cluster.objects import Wanted, job_of

T = TypeVar("T")

_RUNS_KNOWN = 2048


@dataclass(frozen=True)
class Granted:
    """A job that the run calls for: what it is for, its parameters, and its Job."""

    wanted: Wanted
    parameters: dict[str, JsonValue]
    job: Object


class Grants:
    """``namespace``: the only one that is served, or None for all; ``pods``: those of programs."""

    def __init__(self, api: Api, *, namespace: str | None, pods: ContainerSettings) -> None:
        self._api = api
        self._namespace = namespace
        self._pods = pods
        self._published: OrderedDict[str, PublishedSteps] = OrderedDict()
        """Of runs that were asked about lately: a manifest that is published never changes."""
        self._begun: OrderedDict[str, Frozen] = OrderedDict()
        """What those were started with, by UID, which does not either."""

    def namespace_of(self, attempt: Attempt) -> str:
        """The run's namespace; `PermissionDenied` if it is not served, as `require_place` has it."""
        return require_place(attempt, self._namespace)[0]

    async def of(self, asked: Asked, store: Store) -> Granted:
        """The job, if the run calls for it; `PermissionDenied`, `NotFound` or `OutOfDate` if not."""
        attempt = asked.attempt
        namespace, name = require_place(attempt, self._namespace)
        owner, step = require_intent(asked, await self._api.get(SELFIE_RUN, name, namespace=namespace))
        frozen = await self._frozen(namespace, name, attempt.run_uid)
        run = carried_out(owner, frozen, attempt.run_uri)
        manifests = await asyncio.to_thread(self._steps_of(store).look, run.spec)
        parameters = required_parameters(run, step, attempt, manifests)
        require_equal(asked, parameters)
        digest = digest_bytes(parameters_file(parameters)).sha256
        wanted = Wanted(owner, run, attempt, step, asked.program, digest)
        return Granted(wanted, parameters, job_of(wanted, begun_with(self._pods, frozen.pods.trainer)))

    async def _frozen(self, namespace: str, run: str, uid: str) -> Frozen:
        if uid not in self._begun:
            found = await self._api.get(CONFIG_MAP, frozen_name(run, uid), namespace=namespace)
            if found is None:
                raise OutOfDate(
                    f"nothing says what the run {run} was started with; the operator writes it first"
                )
            self._begun[uid] = frozen_from(found, uid)
        return _kept(self._begun, uid, self._begun[uid])

    def _steps_of(self, store: Store) -> PublishedSteps:
        steps = self._published.get(store.uri) or PublishedSteps(store)
        return _kept(self._published, store.uri, steps)


def _kept(known: OrderedDict[str, T], key: str, found: T) -> T:
    """Puts what was asked for last at the end, and forgets what was long not asked for."""
    known[key] = found
    known.move_to_end(key)
    while len(known) > _RUNS_KNOWN:
        known.popitem(last=False)
    return found


def parameters_file(parameters: Mapping[str, JsonValue]) -> bytes:
    """The parameters as a pod finds them in its attempt: equal ones are equal bytes."""
    return (json.dumps(parameters, sort_keys=True, indent=2) + "\n").encode()
