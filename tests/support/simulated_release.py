"""A release in memory: Deployments that make pods, services that do simulated work, a store, a clock.

Everything that the operator may rely on is checked as it goes: weights are only worked with where
they are served, a step is published once, and no run has pods of two kinds of weights at a time.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from kube_double import Hooks, KubeDouble, Told
from selfie.artifacts.digests import FileDigest
from selfie.artifacts.manifests import FileEntry, Manifest, publish, read_published
from selfie.artifacts.paths import is_internal
from selfie.artifacts.store import Store
from selfie.dispatch.calls import StepCall
from selfie.kube.labels import COMPONENT, RUN_UID, WEIGHTS, child_labels, owner_reference
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
from selfie.runs.observed import WorkObserved
from selfie.runs.status import RunStatus, derived_reason
from selfie.runs.steps import ENGINE, GENERATION, SCORING, Step
from selfie_operator.keys import Check, Key, Reconcile
from selfie_operator.reconciling.building import assemble
from selfie_operator.reconciling.children import child_name
from selfie_operator.reconciling.fencing import FencedServices, fenced
from selfie_operator.reconciling.services import RunPlace
from selfie_operator.reconciling.settings import ReconcilingSettings
from selfie_operator.reconciling.subject import status_of

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAMESPACE = "team"
WEIGHTS_OF = {"prepare": ("model", "reference"), "seed": ("checkpoint",), "train": ("checkpoint",)}
WEIGHTS_OF["publish"] = ("checkpoint",)
PODS = PodSettings.model_validate(
    {
        name: {"image": f"selfie/{name}:1", "serviceAccount": f"selfie-{name}"}
        for name in ("engine", "scoring", "trainer")
    }
)


class Killed(BaseException):
    """The operator's process ends here, without another word."""


class MemoryFiles:
    """Files of a store in a dictionary."""

    def __init__(self, data: dict[str, bytes], root: str, hooks: Hooks) -> None:
        self.data, self.root, self.hooks = data, root, hooks

    def below(self, path: str) -> "MemoryFiles":
        return MemoryFiles(self.data, f"{self.root}/{path}", self.hooks)

    def local_path(self, path: str, /) -> Path | None:
        return None

    def read(self, path: str) -> bytes:
        self.hooks.read(path)
        try:
            return self.data[f"{self.root}/{path}"]
        except KeyError as error:
            raise FileNotFoundError(path) from error

    def replace(self, path: str, data: bytes) -> None:
        # A probe has another name each time.
        what = "store probe" if is_internal(path) else f"store {path}"
        self.hooks.before(what)
        self.data[f"{self.root}/{path}"] = data
        self.hooks.after(what)

    def create(self, path: str, data: bytes) -> None:
        if f"{self.root}/{path}" in self.data:
            raise FileExistsError(path)
        self.replace(path, data)

    def is_file(self, path: str) -> bool:
        return f"{self.root}/{path}" in self.data

    def walk(self, prefix: str) -> Iterator[str]:
        yield from (path for path, _ in self.sizes(prefix))

    def sizes(self, prefix: str) -> Iterator[tuple[str, int]]:
        whole = f"{self.root}/{prefix}".rstrip("/")
        for path, data in list(self.data.items()):
            if path == whole or path.startswith(f"{whole}/"):
                yield path.removeprefix(f"{self.root}/"), len(data)

    def remove(self, prefix: str) -> None:
        for path, _ in list(self.sizes(prefix)):
            self.data.pop(f"{self.root}/{path}", None)

    def digest(self, path: str) -> FileDigest:
        data = self.read(path)
        return FileDigest(hashlib.sha256(data).hexdigest(), len(data))

    def put(self, source: Path, path: str, *, keep_source: bool) -> FileDigest:
        raise NotImplementedError

    def get(self, path: str, target: Path) -> FileDigest:
        raise NotImplementedError


@dataclass
class Work:
    """One attempt's work; it publishes after ``total`` ticks."""

    call: StepCall
    state: str = "running"
    done: int = 0
    total: int = 2
    fields: dict[str, Any] = field(default_factory=dict)


class Surroundings(Protocol):
    """What simulated services see of the cluster that they are on."""

    hooks: Hooks

    def store(self, uri: str) -> Store:
        """The artifact store of a run."""
        ...

    async def status(self, uid: str) -> RunStatus:
        """The status of the run with this UID, as it is now."""
        ...

    async def reached(self, service: str, uid: str) -> Object | None:
        """A ready pod behind the run's own Service."""
        ...

    async def ring(self, uid: str) -> None:
        """Work of the run has ended; whoever watches may hear of it."""
        ...


class SimulatedServices:
    """The services of the release. ``fails`` gives a failure's fields by (step path, attempt)."""

    def __init__(self, release: Surroundings) -> None:
        self._release = release
        self.works: dict[tuple[str, str, int], Work] = {}
        self.begun: Counter[tuple[str, str, int]] = Counter()
        self.published: Counter[tuple[str, str]] = Counter()
        self.fails: dict[tuple[str, int], dict[str, Any]] = {}
        self.down: set[str] = set()
        self.refuse: Callable[[StepCall], None] = lambda call: None
        self.measures: Mapping[str, Mapping[str, float]] = {}

    async def is_ready(self, service: str, at: RunPlace) -> bool:
        if service in self.down:
            return False
        return service not in (ENGINE, SCORING) or await self._release.reached(service, at.uid) is not None

    async def engine_digest(self, at: RunPlace) -> str:
        pod = await self._release.reached(ENGINE, at.uid)
        return _argument(pod, "--weights-digest") if pod else ""

    async def observe(self, at: RunPlace, step: Step, attempt: int) -> WorkObserved:
        work = self.works.get((at.uid, step.path, attempt))
        if work is None or step.service in self.down:
            return WorkObserved(step, attempt, "absent")
        state: Any = work.state
        return WorkObserved(step, attempt, state, done=work.done, total=work.total, **work.fields)

    async def start(self, at: RunPlace, call: StepCall) -> None:
        key = (at.uid, call.step.path, call.attempt)
        self._release.hooks.before(f"start {call.step.path} a{call.attempt}")
        self.refuse(call)
        await self._check_promises(at, call)
        work = self.works.get(key)
        if work is None:
            self.begun[key] += 1
            self.works[key] = Work(call)
        elif work.state == "absent":
            work.state = "running"
        self._release.hooks.after(f"start {call.step.path} a{call.attempt}")

    async def cancel(self, at: RunPlace, step: Step, attempt: int) -> None:
        self._release.hooks.before(f"cancel {step.path} a{attempt}")
        work = self.works.get((at.uid, step.path, attempt))
        if work is not None and work.state in {"running", "pending"}:
            work.state = "absent"
        self._release.hooks.after(f"cancel {step.path} a{attempt}")

    async def tick(self) -> None:
        """Work goes on by one shard."""
        for (uid, _, _), work in list(self.works.items()):
            if work.state == "running" and work.call.step.service not in self.down:
                await self._go_on(uid, work)

    def live(self, uid: str) -> list[Work]:
        return [work for (u, _, _), work in self.works.items() if u == uid and work.state == "running"]

    async def _go_on(self, uid: str, work: Work) -> None:
        call = work.call
        if call.step.service in (GENERATION, SCORING) and not await self._is_served(uid, call):
            # It throws the shard away and tries again; nobody loses anything but time.
            return
        failure = self.fails.get((call.step.path, call.attempt))
        work.done += 1
        if failure is not None:
            work.state, work.fields = "failed", failure
        elif work.done >= work.total:
            self._publish(uid, call)
            work.state = "succeeded"
        if work.state != "running":
            await self._release.ring(uid)

    async def _is_served(self, uid: str, call: StepCall) -> bool:
        if call.step.service == GENERATION:
            pod = await self._release.reached(ENGINE, uid)
            wanted = {"--weights-digest": call.inputs["policy"].weights_digest}
        else:
            pod = await self._release.reached(SCORING, uid)
            wanted = {f"--{r}-digest": call.inputs[r].weights_digest for r in ("policy", "reference")}
        return pod is not None and all(_argument(pod, flag) == digest for flag, digest in wanted.items())

    async def _check_promises(self, at: RunPlace, call: StepCall) -> None:
        written = await self._release.status(at.uid)
        assert (written.step, written.attempt) == (call.step.path, call.attempt), "intent comes before act"
        for entry in call.inputs.values():
            found = read_published(self._release.store(at.uri), entry.source.step)
            assert found is not None
            assert found[1].sha256 == entry.manifest_sha256
        if call.step.service in (GENERATION, SCORING):
            assert await self._is_served(at.uid, call), f"{call.step.path} begins on other weights"

    def _publish(self, uid: str, call: StepCall) -> None:
        step = call.step
        inputs = {role: entry.manifest_sha256 for role, entry in sorted(call.inputs.items())}
        made = hashlib.sha256(repr((step.path, sorted(inputs.items()))).encode()).hexdigest()
        groups = [*WEIGHTS_OF.get(step.name, ()), *_groups_of(call)]
        store = self._release.store(call.run_uri)
        if read_published(store, step.path) is not None:
            return
        self.published[uid, step.path] += 1
        manifest = Manifest(
            run_uid=uid,
            round=step.round,
            step=step.path,
            attempt=call.attempt,
            writer="simulated",
            files=tuple(_file(step, group, made) for group in groups),
            inputs=inputs,
            measures=dict(self.measures.get(step.path, {})),
            started_at=START,
            finished_at=START + timedelta(seconds=2),
        )
        with unobserved(self._release.hooks):
            publish(store, manifest)


class Recorded:
    """Events as (type, reason, note)."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, str]] = []

    def record(self, run: Object, event_type: str, reason: str, note: str, *, last: bool = False) -> None:
        self.events.append((event_type, reason, note))

    @property
    def reasons(self) -> list[str]:
        return [reason for _, reason, _ in self.events]


class SimulatedRelease:
    """One namespace with an operator, which may be killed and started again at any time."""

    def __init__(self, settings: ReconcilingSettings | None = None) -> None:
        self.settings = settings or ReconcilingSettings(artifacts_root="s3://bucket/runs")
        self.now = START
        self.hooks = Hooks()
        self.files: dict[str, bytes] = {}
        self.api = KubeDouble(lambda: self.now, self.hooks)
        self.services = SimulatedServices(self)
        self.told = Told(self.api)
        self.recorded = Recorded()
        self.unschedulable = False
        self.pods_made = 0
        self.places: list[tuple[int, str, int]] = []
        self.check: Check = lambda: None
        self.reconcile: Reconcile
        self.start_operator()

    def start_operator(self) -> None:
        """A new process, which knows nothing but what it reads."""
        self.told.catch_up()
        self.reconcile = assemble(
            self.settings,
            PODS,
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
            ready = "False" if self.unschedulable else "True"
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

    def _make_pod(self, deployment: Object, template: Object) -> None:
        self.pods_made += 1
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
            kinds.setdefault((labels[RUN_UID], labels[COMPONENT]), set()).add(labels[WEIGHTS])
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


@contextmanager
def unobserved(hooks: Hooks) -> Iterator[None]:
    """Writes of others, within which no hook is called."""
    kept = hooks.before, hooks.after
    hooks.before = hooks.after = lambda what: None
    try:
        yield
    finally:
        hooks.before, hooks.after = kept


def foreign(kind_name: str, name: str, owner: Object | None = None) -> Object:
    """An object of somebody else's; with an owner, of another run."""
    references = {"ownerReferences": [owner_reference(owner)]} if owner else {}
    labels = child_labels(owner, "engine") if owner else {}
    return {
        "kind": kind_name,
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels, **references},
        "spec": {"selector": {}, "replicas": 0, "template": {"metadata": {}, "spec": {}}},
    }


def _made_by(pod: Object) -> str:
    return str(pod["metadata"]["annotations"]["deployment"])


def is_ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions", ())
    return not is_going(pod) and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _argument(pod: Object, flag: str) -> str:
    arguments = pod["spec"]["containers"][0]["args"]
    return str(arguments[arguments.index(flag) + 1])


def _groups_of(call: StepCall) -> list[str]:
    if call.step.name != "prepare":
        return ["samples", "responses", "pairs"]
    rounds = range(1, len(call.run.spec.rounds) + 1) if call.step.round == 0 else [call.step.round]
    first = ["seed", "heldout", "evaluation-prompts"] if call.step.round == 0 else []
    return [*first, *(f"prompts-round-{number:02d}" for number in rounds)]


def _file(step: Step, group: str, made: str) -> FileEntry:
    digest = hashlib.sha256(f"{made}{group}".encode()).hexdigest()
    return FileEntry(group=group, name="data", path=f"{step.path}/a1/{group}", sha256=digest, bytes=1, rows=1)


class Killer:
    """Kills the operator at the moments that are chosen, or once at every moment.

    A moment is before or after a write, wherever it goes: the API server, the store, a service.
    ``always`` tells moments apart by the write, and by what the run has published and says of itself.
    """

    def __init__(self, release: SimulatedRelease, *moments: int, always: bool = False) -> None:
        self.moments, self.always = set(moments), always
        self.count = self.kills = 0
        self._release = release
        self._passed: set[tuple[str, str]] = set()
        release.hooks.before = lambda what: self._here(f"before {what}")
        release.hooks.after = lambda what: self._here(f"after {what}")

    def _here(self, moment: str) -> None:
        self.count += 1
        kind = (moment, self._release.standing())
        is_first = kind not in self._passed
        self._passed.add(kind)
        if self.count in self.moments or (self.always and is_first):
            self.kills += 1
            raise Killed(moment)


def end_state(release: SimulatedRelease, key: Key) -> dict[str, Any]:
    """All that a run leaves, without times: its status, its files, what is left of it on the cluster."""
    status = release.status_of(key).model_dump(mode="json")
    timeless = {name: value for name, value in status.items() if not name.endswith(("_time", "_since"))}
    for entry in timeless["conditions"]:
        del entry["last_transition_time"]
    for name in ("paused_seconds", "stage_paused_seconds"):
        del timeless[name]
    uid = uid_of(release.run(key))
    return {
        "status": timeless,
        "files": {path: data for path, data in release.files.items() if path.endswith("manifest.json")},
        "objects": sorted(name_of(found) for found in release.api.objects.values()),
        "begun": {name[1:]: count for name, count in release.services.begun.items() if name[0] == uid},
        "published": {name[1]: count for name, count in release.services.published.items()},
    }
