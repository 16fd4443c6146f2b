"""A release in memory: Deployments that make pods, services that do simulated work, a store, a clock.

Everything that the operator may rely on is checked as it goes: weights are only worked with where
they are served, a step is published once, and no run has pods of two kinds of weights at a time.
"""

import json
from collections.abc import Callable
from datetime import timedelta

from kube_double import Hooks, KubeDouble, Told
from memory_files import MemoryFiles
from release_doubles import NAMESPACE, PODS, Recorded
from selfie.artifacts.store import Store
from selfie.kube.labels import COMPONENT, POLICY, RUN_UID, WEIGHTS
from selfie.kube.objects import (
    DEPLOYMENT,
    POD,
    SELFIE_RUN,
    SERVICE,
    Object,
    is_going,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
)
from selfie.kube.pod_settings import PodSettings
from selfie.runs.status import RunStatus, derived_reason
from selfie_operator.keys import Check, Key, Reconcile
from selfie_operator.reconciling.building import assemble
from selfie_operator.reconciling.children import child_name
from selfie_operator.reconciling.fencing import FencedServices, fenced
from selfie_operator.reconciling.settings import ReconcilingSettings
from selfie_operator.reconciling.subject import status_of
from simulated_services import HELD, START, SimulatedServices, follows, is_ready


class Killed(BaseException):
    """The operator's process ends here, without another word."""


class SimulatedRelease:
    """One namespace with an operator, which may be killed and started again at any time."""

    def __init__(self, settings: ReconcilingSettings | None = None, pods: PodSettings = PODS) -> None:
        self.settings = settings or ReconcilingSettings(artifacts_root="s3://bucket/runs")
        self.pods = pods
        self.now = START
        self.hooks = Hooks()
        self.files: dict[str, bytes] = {}
        self.api = KubeDouble(lambda: self.now, self.hooks)
        self.services = SimulatedServices(self)
        self.told = Told(self.api)
        self.recorded = Recorded()
        self.unschedulable = False
        self.pods_made = 0
        self.made: list[str] = []
        self.moves: list[str] = []
        self.places: list[tuple[int, str, int]] = []
        self.check: Check = lambda: None
        self.reconcile: Reconcile
        self.start_operator()

    def start_operator(self) -> None:
        """A new process, which knows nothing but what it reads."""
        self.told.catch_up()
        self.reconcile = assemble(
            self.settings,
            self.pods,
            (self.api, self.told, self.recorded),
            services=FencedServices(self.services, self._check),
            open_store=fenced(self.store, self._check),
            now=lambda: self.now,
        )

    def _check(self) -> None:
        self.check()

    def store(self, uri: str) -> Store:
        return Store(uri, MemoryFiles(self.files, uri, self.hooks))

    def apply(self, run: Object) -> Key:
        """Creates a run as a user does."""
        made = {**run, "metadata": {"namespace": NAMESPACE, **run["metadata"]}}
        self.api.put(SELFIE_RUN, made)
        self.told.catch_up()
        return Key(made["metadata"]["namespace"], made["metadata"]["name"])

    def run(self, key: Key) -> Object:
        return self.api.objects[SELFIE_RUN, key.namespace, key.name]

    async def status(self, uid: str) -> RunStatus:
        return status_of(next(found for found in self.api.of(SELFIE_RUN) if uid_of(found) == uid))

    def status_of(self, key: Key) -> RunStatus:
        return status_of(self.run(key))

    async def look(self, key: Key) -> float | None:
        """One look by the operator; if it is killed, a new one is started."""
        try:
            return await self.reconcile(key)
        except Killed:
            self.start_operator()
            return 0

    async def drive(
        self, *keys: Key, until: Callable[[], bool] | None = None, passes: int = 600
    ) -> "SimulatedRelease":
        """Looks and ticks until that is reached; by default, until the runs have ended and hold nothing."""
        reached = until or (lambda: all(self.is_at_rest(key) for key in keys))
        for _ in range(passes):
            if reached():
                return self
            for key in keys:
                await self.look(key)
            await self.tick()
        standing = {str(key): self.run(key).get("status", {}).get("conditions", [{}])[:1] for key in keys}
        raise AssertionError(f"not there after {passes} passes: {standing}")

    def standing(self) -> str:
        """How all runs stand, in few words."""
        found = (status_of(run) for run in self.api.of(SELFIE_RUN))
        told = [(status.step, status.attempt, derived_reason(status)) for status in found]
        return f"{told} {sum(self.services.published.values())}"

    def is_at_rest(self, key: Key) -> bool:
        return self.status_of(key).is_terminal and self.is_released(key)

    def is_released(self, key: Key) -> bool:
        uid = uid_of(self.run(key))
        held = [
            found for kind in (POD, DEPLOYMENT, SERVICE) for found in self.api.of(kind, labels={RUN_UID: uid})
        ]
        return not held and not self.services.live(uid)

    async def tick(self, seconds: float = 1.0) -> None:
        """Time passes: controllers act, pods begin and end, work goes on, and the watches tell of it."""
        self.now += timedelta(seconds=seconds)
        self.api.collect_garbage()
        self._end_pods()
        for deployment in self.api.of(DEPLOYMENT):
            self._roll(deployment)
        await self.services.tick()
        self._check_weights()
        for run in self.api.of(SELFIE_RUN):
            self._check_order(run)
        self.told.catch_up()

    async def ring(self, uid: str) -> None:
        """Nobody listens: looks follow each other without waiting."""

    async def reached(self, service: str, uid: str) -> Object | None:
        """A ready pod behind the run's Service."""
        name = child_name(service, uid)
        found = next((entry for entry in self.api.of(SERVICE) if name_of(entry) == name), None)
        if found is None:
            return None
        pods = self.api.of(POD, labels=found["spec"]["selector"])
        return next((pod for pod in pods if is_ready(pod)), None)

    def _end_pods(self) -> None:
        for place, pod in list(self.api.objects.items()):
            if place[0] == POD and is_going(pod):
                self.api.remove(place)
        owners = {uid_of(found) for found in self.api.of(DEPLOYMENT)}
        for pod in self.api.of(POD):
            if _made_by(pod) not in owners:
                self._let_go(pod)

    def _roll(self, deployment: Object) -> None:
        template = deployment["spec"]["template"]
        pods = [
            pod
            for pod in self.api.of(POD)
            if pod["metadata"]["annotations"]["deployment"] == uid_of(deployment)
        ]
        old = [pod for pod in pods if pod["spec"] != template["spec"]]
        for pod in old:
            self._let_go(pod)
        if old:
            return
        for pod in pods:
            moved = not follows(pod) or self._move(pod)
            ready = "True" if moved and not self.unschedulable else "False"
            reason = {"reason": "Unschedulable", "message": "0/1 nodes"} if self.unschedulable else {}
            conditions = [
                {"type": "PodScheduled", "status": ready, **reason},
                {"type": "Ready", "status": ready},
            ]
            if pod["status"] != {"conditions": conditions}:
                pod["status"] = {"conditions": conditions}
                self.api.touch(pod)
        for _ in range(deployment["spec"]["replicas"] - len(pods)):
            self._make_pod(deployment, template)

    def _move(self, pod: Object) -> bool:
        """Brings an engine nearer to the weights of its note; whether it has any."""
        notes = pod["metadata"]["annotations"]
        wanted = json.loads(notes.get(POLICY, "{}")).get("digest", "")
        if notes.get("moving") != wanted:
            notes["moving"] = wanted
        elif notes.get(HELD, "") != wanted:
            notes[HELD] = wanted
            self.moves.append(wanted)
        return bool(notes.get(HELD))

    def _make_pod(self, deployment: Object, template: Object) -> None:
        self.pods_made += 1
        self.made.append(f"{name_of(deployment)}-{self.pods_made}")
        pod = {
            "metadata": {
                "name": f"{name_of(deployment)}-{self.pods_made}",
                "namespace": namespace_of(deployment),
                "labels": dict(template["metadata"]["labels"]),
                "annotations": {"deployment": uid_of(deployment)},
            },
            "spec": template["spec"],
            "status": {},
        }
        self.api.put(POD, pod)

    def _let_go(self, pod: Object) -> None:
        if not is_going(pod):
            pod["metadata"]["deletionTimestamp"] = "now"
            self.api.touch(pod)

    def _check_weights(self) -> None:
        kinds: dict[tuple[str, str], set[str]] = {}
        for pod in self.api.of(POD):
            labels = labels_of(pod)
            kinds.setdefault((labels[RUN_UID], labels[COMPONENT]), set()).add(labels.get(WEIGHTS, ""))
        assert all(len(found) == 1 for found in kinds.values()), "two weights at once"

    def _check_order(self, run: Object) -> None:
        status = status_of(run)
        place = (status.round, status.step or "", status.attempt)
        if status.step is None or (self.places and self.places[-1] == place):
            return
        if self.places and len(self.api.of(SELFIE_RUN)) == 1:
            last_round, last_step, last_attempt = self.places[-1]
            assert status.round >= last_round, "a round goes back"
            assert status.step != last_step or status.attempt > last_attempt, "an attempt goes back"
        self.places.append(place)


def _made_by(pod: Object) -> str:
    return str(pod["metadata"]["annotations"]["deployment"])
