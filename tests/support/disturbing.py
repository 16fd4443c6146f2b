"""What can happen to the pods of a run, at moments that do not pass while somebody looks."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cluster import pod_processes
from installations import RELEASE, Installation, RunOnCluster
from selfie.artifacts.manifests import read_manifest
from selfie.artifacts.operations import read_record
from selfie.artifacts.starts import Start
from selfie.artifacts.store import Store
from selfie.errors import NotFound
from selfie.training.outcomes import read_progress
from waiting import until

STAGE_S = 400
"""Time for one stage, with the start of everything that it needs."""
TRAINER = "selfie.training.trainer"
SHARED = ("operator", "generation", "filtering", "training")
"""Components that all runs share."""
OWN = ("engine", "scoring")
"""Components of a run that can be lost at any time; a trainer has steps of its own to be looked for."""


@dataclass(frozen=True)
class Disturber:
    """The pods of one run, and those of the release that it depends on."""

    release: Installation
    run: RunOnCluster
    store: Store
    uid: str

    @classmethod
    def of(cls, release: Installation, run: RunOnCluster) -> "Disturber":
        """Of this run."""
        return cls(release, run, run.store, run.object()["metadata"]["uid"])

    # Moments.

    def at(self, *stages: str) -> None:
        """Waits until the run has come to one of these stages."""
        until(lambda: self.run.is_at(*stages), seconds=STAGE_S)

    @contextmanager
    def training(self, step: str, *, start: int) -> Iterator[str]:
        """Waits until this start of the step's trainer is in the middle of it, where it stays meanwhile.

        Gives the name of its pod.
        """
        begun = self._begun(step, start)
        until(lambda: self._trains(step, begun), seconds=STAGE_S)
        with pod_processes.time_stopped(begun.uid, TRAINER):
            assert read_manifest(self.store, step) is None, f"{step} was over too soon"
            yield self._name("trainer", begun.uid)

    @contextmanager
    def working(self, step: str, component: str) -> Iterator[str]:
        """Waits until a service works on the step with the run's ``component``, whose time stops there.

        Gives the name of its pod.
        """
        found: list[Mapping[str, Any]] = []

        def at_work() -> bool:
            # Looked for before the work begins, which may be over sooner than an answer of the API.
            if not found or not pod_processes.processes_of(found[0]["uid"]):
                found[:] = self._running(component)
            return bool(found) and read_record(self.store, step, 1) is not None

        until(at_work, seconds=STAGE_S)
        with pod_processes.time_stopped(found[0]["uid"]):
            assert read_manifest(self.store, step) is None, f"{step} was over too soon"
            yield str(found[0]["name"])

    # Misfortunes.

    def delete(self, *components: str) -> None:
        """Deletes the pods of these components, with their grace."""
        for component in components:
            label = f"app.kubernetes.io/component={component}"
            whose = (
                f"app.kubernetes.io/instance={RELEASE}"
                if component in SHARED
                else f"selfie.dev/run-uid={self.uid}"
            )
            self.release.kubectl("delete", "pods", f"-l={label},{whose}", "--wait=false")

    def lose(self, component: str) -> None:
        """Deletes a pod of the run's own as soon as it runs."""
        until(lambda: self._running(component), seconds=STAGE_S)
        self.delete(component)

    def _running(self, component: str) -> list[Mapping[str, Any]]:
        """Metadata of those that run, and are not on their way out."""
        pods = [pod for pod in self.run.pods(component) if pod["status"]["phase"] == "Running"]
        return [pod["metadata"] for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def delete_pod(self, name: str) -> None:
        """Deletes one pod, with its grace."""
        self.release.kubectl("delete", "pod", name, "--wait=false")

    def evict(self, name: str) -> None:
        """By the API that `kubectl drain` uses."""
        review = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        path = f"/api/v1/namespaces/{self.release.namespace}/pods/{name}/eviction"
        self.release.kubectl("create", f"--raw={path}", "-f", "-", given=json.dumps(review))

    def run_out_of_memory(self, name: str) -> None:
        """Takes all memory that the pod may have, until the kernel kills its trainer."""
        uid = self.release.found("pod", name)["metadata"]["uid"]
        [trainer] = pod_processes.processes_of(uid, TRAINER)
        pod_processes.run_out_of_memory(trainer)

    def kill(self, name: str, program: str) -> None:
        """Kills a program in one of the pods, as a crash of it would."""
        uid = self.release.found("pod", name)["metadata"]["uid"]
        [process] = pod_processes.processes_of(uid, program)
        pod_processes.kill(process)

    def kill_rank(self, step: str, *, start: int, node: int) -> None:
        """Kills the trainer of one of the pods that share a training, as a crash of it would."""
        [trainer] = pod_processes.processes_of(self._begun(step, start, node).uid, TRAINER)
        pod_processes.kill(trainer)

    def roll(self, component: str) -> None:
        """New pods of the run's own service, with the same weights; `kubectl rollout restart`."""
        [found] = self.release.found("deployments", f"-l=selfie.dev/run-uid={self.uid}")["items"]
        assert found["metadata"]["labels"]["app.kubernetes.io/component"] == component
        self.release.kubectl("rollout", "restart", f"deployment/{found['metadata']['name']}")

    def _begun(self, step: str, number: int, node: int = 0) -> Start:
        return until(lambda: self._start(step, number, node), seconds=STAGE_S)

    def _start(self, step: str, number: int, node: int) -> Start | None:
        try:
            record = self.store.read(f"{step}/a1/starts/{node:02d}-{number:04d}.json")
        except NotFound:
            return None
        return Start.model_validate_json(record)

    def _trains(self, step: str, start: Start) -> bool:
        progress = read_progress(self.store, f"{step}/a1")
        if progress is None or progress.updated_at is None or progress.updated_at < start.started_at:
            # What an earlier start has told is not this one's.
            return False
        return progress.activity == "training" and progress.done > 0

    def _name(self, component: str, uid: str) -> str:
        [found] = [pod for pod in self.run.pods(component) if pod["metadata"]["uid"] == uid]
        return str(found["metadata"]["name"])


def moments(run: RunOnCluster) -> Iterator[tuple[int, str, str]]:
    """Each (round, stage, status in one word) that the run comes to, once, until it has ended."""
    seen = set()
    while not run.has_ended:
        status = run.object().get("status", {})
        words = [c["reason"] for c in status.get("conditions", ()) if c["type"] == "Succeeded"]
        place = (status.get("round", 0), status.get("stage", ""), *words)
        if len(place) == 3 and place not in seen:
            seen.add(place)
            yield place
        time.sleep(0.2)
