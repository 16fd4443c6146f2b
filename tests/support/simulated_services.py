"""The services of a release, which work on nothing and check that everything asked of them is as promised."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from kube_double import Hooks
from selfie.artifacts.manifests import FileEntry, Manifest, publish, read_published
from selfie.artifacts.store import Store
from selfie.dispatch.calls import StepCall
from selfie.kube.objects import (
    Object,
    is_going,
)
from selfie.runs.lineage import Source
from selfie.runs.observed import WorkObserved
from selfie.runs.status import RunStatus
from selfie.runs.steps import ENGINE, GENERATION, SCORING, Step
from selfie_operator.reconciling.services import RunPlace

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
WEIGHTS_OF = {"prepare": ("model", "reference"), "seed": ("checkpoint",), "train": ("checkpoint",)}
WEIGHTS_OF["publish"] = ("checkpoint",)
HELD = "held"
"""Annotation of a pod that follows: digest of the weights that its engine has by now."""


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
        self.ahead: Counter[tuple[str, str]] = Counter()
        self.down: set[str] = set()
        self.refuse: Callable[[StepCall], None] = lambda call: None
        self.measures: Mapping[str, Mapping[str, float]] = {}

    async def is_ready(self, service: str, at: RunPlace) -> bool:
        if service in self.down:
            return False
        return service not in (ENGINE, SCORING) or await self._release.reached(service, at.uid) is not None

    async def engine_digest(self, at: RunPlace) -> str:
        pod = await self._release.reached(ENGINE, at.uid)
        return engine_digest_of(pod) if pod else ""

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

    async def start_ahead(self, at: RunPlace, call: StepCall, source: Source) -> None:
        written = await self._release.status(at.uid)
        assert (written.step, written.attempt) == (source.step, call.attempt), "it goes on beside its source"
        assert await self._is_served(at.uid, call), "it is done by the weights that the step wants"
        self.ahead[at.uid, call.step.path] += 1

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
            return pod is not None and engine_digest_of(pod) == call.inputs["policy"].weights_digest
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


@contextmanager
def unobserved(hooks: Hooks) -> Iterator[None]:
    """Writes of others, within which no hook is called."""
    kept = hooks.before, hooks.after
    hooks.before = hooks.after = lambda what: None
    try:
        yield
    finally:
        hooks.before, hooks.after = kept


def is_ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions", ())
    return not is_going(pod) and any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def follows(pod: Object) -> bool:
    """Whether its engine is moved where it stands."""
    return any(entry["name"] == "follow-policy" for entry in pod["spec"]["containers"])


def engine_digest_of(pod: Object) -> str:
    """Digest of the weights that its engine says it has."""
    if follows(pod):
        return str(pod["metadata"]["annotations"].get(HELD, ""))
    return _argument(pod, "--weights-digest")


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
