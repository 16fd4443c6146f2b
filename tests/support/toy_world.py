"""A toy world for the planner: a store, services and work with behaviour, in memory.

It is strict where the real one is: a manifest is created once, work runs only on the weights it
was promised, and with `gpu: shared` two holders of the accelerator at a time are an error.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from copy import copy
from datetime import timedelta
from typing import Any

from selfie.runs.actions import Action, CancelStep, StartStep, WorkAhead
from selfie.runs.observed import ManifestSummary, Observed, ServiceObserved, StoreObserved, WorkObserved
from selfie.runs.plan import Plan, plan
from selfie.runs.spec import RunSpec
from selfie.runs.status import RunStatus, object_of_status, status_from_object
from selfie.runs.steps import Step, step_at
from selfie.runs.wanted import ServiceWanted
from toy_work import ON_ACCELERATOR, START, WEIGHTS, CrashError, Disturbance, Service, Work, digest, groups_of


class World:
    """The world of one run. ``fails``: (step path, attempt) to a failure's `Work` fields."""

    def __init__(
        self,
        spec: RunSpec,
        *,
        measures: Mapping[str, Mapping[str, float]] | None = None,
        fails: Mapping[tuple[str, int], Mapping[str, Any]] | None = None,
        disturbance: Disturbance | None = None,
        saves_first: bool = True,
        pending: Mapping[str, str] | None = None,
    ) -> None:
        self.spec = spec
        self.measures = measures or {}
        self.fails = fails or {}
        self.pending = dict(pending or {})
        self.disturbance = disturbance or Disturbance()
        self.saves_first = saves_first
        self.now = START
        self.ahead: list[str] = []
        self.store = StoreObserved()
        self.status = RunStatus()
        self.manifests: dict[str, ManifestSummary] = {}
        self.published: Counter[str] = Counter()
        self.works: dict[tuple[str, int], Work] = {}
        self.services: dict[str, Service] = {}
        self.started: list[tuple[str, int]] = []
        self.seen: list[str] = []
        self.crashes = 0

    def observe(self) -> Observed:
        return Observed(
            store=self.store,
            manifests=dict(self.manifests) if self.store.ready else {},
            work=self._look_at_work(self.status),
            services={
                name: ServiceObserved(service.ready and not service.stopping, dict(service.digests))
                for name, service in self.services.items()
            },
        )

    def look(self) -> Plan:
        return plan(self.spec, self.status, self.observe(), self.now)

    def reconcile(self) -> Plan | None:
        """One pass; None if it crashed on the way."""
        decided = self.look()
        return decided if self.carry_out(decided) else None

    def carry_out(self, decided: Plan) -> bool:
        """Does what was decided; False if it crashed on the way."""
        try:
            if self.saves_first:
                self._save(decided)
            if decided.services is not None:
                self._settle(decided.services)
            for action in decided.actions:
                what = f"{type(action).__name__} {action.step.path} {action.attempt}"
                self.disturbance.here("before", what)
                self._perform(action)
                self.disturbance.here("after", what)
            if not self.saves_first:
                self._save(decided)
        except CrashError:
            self.crashes += 1
            return False
        return True

    def tick(self, seconds: float = 1.0) -> None:
        """Time passes: services start and stop, work goes on."""
        self.now += timedelta(seconds=seconds)
        self.services = {name: service for name, service in self.services.items() if not service.stopping}
        for work in self.works.values():
            if work.state == "running":
                self._work_on(work)
        for service in self.services.values():
            service.ready = True
        self._check_accelerator()

    def run(self, *, until: Callable[["World"], bool] | None = None, passes: int = 2000) -> "World":
        """Passes and ticks until the condition holds; else until the run is over and nothing is left."""
        for _ in range(passes):
            if (until or World.is_at_rest)(self):
                return self
            self.reconcile()
            self.tick()
        raise AssertionError(
            f"still at {self.status.step} after {passes} passes: {self.status.conditions[:1]}"
        )

    def is_at_rest(self) -> bool:
        return self.status.is_terminal and self.is_released()

    def is_released(self) -> bool:
        return not self.services and not any(
            work.state in {"running", "pending"} for work in self.works.values()
        )

    def fork(self, disturbance: Disturbance | None = None) -> "World":
        """The same world once more, to go another way from here."""
        other = copy(self)
        other.manifests, other.published = dict(self.manifests), Counter(self.published)
        other.works = {key: copy(work) for key, work in self.works.items()}
        other.services = {name: copy(service) for name, service in self.services.items()}
        other.started, other.seen = list(self.started), list(self.seen)
        other.disturbance = disturbance or Disturbance()
        return other

    def lose_work(self) -> bool:
        """Every process that works dies, as on a node that goes away."""
        lost = [work for work in self.works.values() if work.state == "running"]
        for work in lost:
            work.state = "absent"
            work.restarts += 1
        return bool(lost)

    def shas(self) -> dict[str, str]:
        return {path: manifest.sha256 for path, manifest in self.manifests.items()}

    def _save(self, decided: Plan) -> None:
        reason = decided.status.conditions[0].reason
        if decided.status != self.status:
            self.disturbance.here("unsaved", f"{decided.status.step} {reason}")
        self.status = status_from_object(json.loads(json.dumps(object_of_status(decided.status))))
        assert self.status == decided.status, "the status must survive JSON"
        if not self.seen or self.seen[-1] != reason:
            self.seen.append(reason)

    def _look_at_work(self, status: RunStatus) -> WorkObserved | None:
        step = step_at(status.step or "")
        if step is None:
            return None
        work = self.works.get((step.path, status.attempt))
        if work is None:
            return WorkObserved(step, status.attempt, "absent")
        return work.seen(step, status.attempt)

    def _settle(self, wanted: Mapping[str, ServiceWanted]) -> None:
        for name, service in self.services.items():
            service.stopping = name not in wanted
        for name, entry in wanted.items():
            digests = {role: value.weights_digest or "" for role, value in entry.weights.items()}
            held = self.services.get(name)
            if held is None or dict(held.digests) != digests:
                self.services[name] = Service(digests)

    def _perform(self, action: Action) -> None:
        work = self.works.get((action.step.path, action.attempt))
        if isinstance(action, WorkAhead):
            assert (action.source.step, action.attempt) == (self.status.step, self.status.attempt)
            held = self.services["scoring"]
            assert held.ready
            assert held.digests == {role: entry.weights_digest for role, entry in action.inputs.items()}
            self.ahead.append(action.step.path)
            return
        if isinstance(action, CancelStep):
            if work and work.state in {"running", "pending"}:
                work.state = "absent"
            return
        if work is None:
            self.started.append((action.step.path, action.attempt))
            reason = self.pending.get(action.step.path, "")
            state = "pending" if reason else "running"
            self.works[action.step.path, action.attempt] = Work(action, state=state, reason=reason)
        elif work.state == "absent":
            work.state = "running"

    def _work_on(self, work: Work) -> None:
        step, attempt = work.start.step, work.start.attempt
        self._check_promises(work.start)
        failure = self.fails.get((step.path, attempt))
        work.done += 1
        if failure is not None:
            work.state = "failed"
            for name, value in failure.items():
                setattr(work, name, value)
        elif work.done >= work.total:
            self._publish(step, work)
            work.state = "succeeded"

    def _publish(self, step: Step, work: Work) -> None:
        inputs = sorted((role, entry.manifest_sha256) for role, entry in work.start.inputs.items())
        sha = digest(step.path, inputs)
        groups = WEIGHTS.get(step.name, ()) if step.round == 0 or step.name != "prepare" else ()
        if step.path in self.manifests:
            return
        self.published[step.path] += 1
        self.manifests[step.path] = ManifestSummary(
            sha256=sha,
            counts={"kept": 7, "noisy": 1} if step.name == "filter" else {},
            measures=dict(self.measures.get(step.path, {})),
            digests={group: digest(sha, group) for group in groups},
            groups=groups_of(self.spec, step),
            attempt=work.start.attempt,
            seconds=2.0,
        )

    def _check_promises(self, start: StartStep) -> None:
        for entry in start.inputs.values():
            manifest = self.manifests[entry.source.step]
            assert manifest.sha256 == entry.manifest_sha256
            assert entry.source.group in manifest.groups, f"{entry.source} is not there"
        service = self.services.get(start.step.service)
        assert service is not None, f"{start.step.path} works without {start.step.service}"
        if start.step.service == "generation":
            assert self.services["engine"].digests["policy"] == start.inputs["policy"].weights_digest
        if start.step.service == "scoring":
            for role in ("policy", "reference"):
                assert service.digests[role] == start.inputs[role].weights_digest

    def _check_accelerator(self) -> None:
        if self.spec.gpu == "separate":
            return
        holders = {name for name in ("engine", "scoring") if name in self.services}
        holders |= {
            "trainer"
            for work in self.works.values()
            if work.state == "running" and work.start.step.name in ON_ACCELERATOR
        }
        assert len(holders) <= 1, f"{sorted(holders)} hold the accelerator together"
