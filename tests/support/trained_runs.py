"""A run on a real control plane whose jobs a fake node runs, with programs that tests decide."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from cluster.fake_kubelet import FakeKubelet
from cluster.fake_pods import FakePod
from cluster.pod_statuses import Exit as PodExit
from cluster.running import Cluster
from selfie.artifacts.exits import Exit
from selfie.artifacts.manifests import publish
from selfie.artifacts.starts import begin
from selfie.artifacts.store import open_store
from selfie.kube.client import KubeApi
from selfie.kube.objects import CONFIG_MAP, JOB, POD, SELFIE_RUN, Kind, Object
from selfie.rpc.stores import store_opener
from selfie.training.cluster.authority import Asked
from selfie.training.cluster.controller import ClusterJobs
from selfie.training.cluster.granting import Grants
from selfie.training.job import Job
from selfie.training.records import job_name
from training_runs import (
    NOW,
    asked_from,
    frozen_map,
    run_uri,
    selfie_run,
    trainer_settings,
)

ADMITTED = {"pool": "admitted"}
"""What a queue writes into the Jobs that it admits, and the labels of the node."""

T = TypeVar("T")


class TrainedRun:
    """A run in a namespace of its own, whose operator has asked for its first step."""

    def __init__(self, cluster: Cluster, api: KubeApi, node: FakeKubelet, namespace: str, root: Path) -> None:
        self.cluster, self.api, self.node, self.namespace = cluster, api, node, namespace
        self.root = f"file://{root}/artifacts"
        self.owner: Object = {}

    async def begin(self, step: str = "prepare", **spec: Any) -> None:
        wanted = selfie_run(step, namespace=self.namespace, spec=spec)
        del wanted["metadata"]["uid"], wanted["metadata"]["resourceVersion"]
        self.owner = await self.api.create(SELFIE_RUN, wanted, namespace=self.namespace)
        await self.at(step, 1)
        self.account()
        await self.api.create(CONFIG_MAP, frozen_map(self.owner, root=self.root), namespace=self.namespace)
        self.store = open_store(run_uri(self.owner, self.root))
        self.jobs = self.controller()

    async def at(self, step: str, attempt: int) -> None:
        """What the operator writes before it asks for anything."""
        status = {"status": {"step": step, "attempt": attempt}}
        name = self.owner["metadata"]["name"]
        self.owner = await self.api.patch(
            SELFIE_RUN, name, status, namespace=self.namespace, subresource="status"
        )

    def account(self) -> None:
        self.cluster.kubectl("create", "serviceaccount", "selfie-trainer", f"-n={self.namespace}")

    def controller(self) -> ClusterJobs:
        grants = Grants(self.api, namespace=self.namespace, pods=trainer_settings())
        return ClusterJobs(api=self.api, grants=grants, open_store=store_opener((self.root,)))

    @property
    def asked(self) -> Asked:
        return asked_from(self.store, self.owner, root=self.root)

    @property
    def path(self) -> str:
        return self.asked.attempt.path

    async def create(self, jobs: ClusterJobs | None = None) -> Job:
        asked = self.asked
        return await (jobs or self.jobs).create(
            asked.attempt, request_id=asked.request_id, program=asked.program, parameters=asked.parameters
        )

    async def get(self) -> Job:
        return await self.jobs.get(job_name(self.asked.attempt))

    async def until(self, holds: Callable[[Job], Any], seconds: float = 90) -> Job:
        deadline = time.monotonic() + seconds
        while not holds(job := await self.get()):
            found = await self.api.list(JOB, namespace=self.namespace)
            states = [entry.get("status") for entry in found.items]
            assert time.monotonic() < deadline, (
                f"{job.state} {job.reason} {job.starts} {job.message} {states}"
            )
            await asyncio.sleep(0.1)
        return job

    async def only_job(self) -> Object:
        (found,) = (await self.api.list(JOB, namespace=self.namespace)).items
        return found

    async def live_pods(self) -> list[Object]:
        pods = (await self.api.list(POD, namespace=self.namespace)).items
        return [pod for pod in pods if pod["status"]["phase"] in {"Pending", "Running"}]

    async def one_pod(self) -> str:
        """Name of the only pod that lives, once it runs."""

        async def running() -> str | None:
            pods = await self.live_pods()
            is_running = len(pods) == 1 and pods[0]["status"]["phase"] == "Running"
            return str(pods[0]["metadata"]["name"]) if is_running else None

        return await eventually(running)

    async def is_rid_of(self, kind: Kind) -> bool:
        return not (await self.api.list(kind, namespace=self.namespace)).items

    # What programs do.

    async def trains(self, pod: FakePod) -> PodExit:
        """Records its start, and works until it is told to stop."""
        begin(self.store, self.path, uid=pod.object["metadata"]["uid"])
        await pod.stopping.wait()
        return PodExit(Exit.TERMINATED)

    async def publishes(self, pod: FakePod) -> PodExit:
        begin(self.store, self.path, uid=pod.object["metadata"]["uid"])
        publish(self.store, self.asked.attempt.manifest(writer="w", started_at=NOW))
        return PodExit(Exit.DONE)

    def fails(self, status: int, *, reason: str = "ParityBroken", retryable: bool = False) -> Any:
        """Says why, as programs do, and ends."""

        async def program(pod: FakePod) -> PodExit:
            begin(self.store, self.path, uid=pod.object["metadata"]["uid"])
            error = {"reason": reason, "message": "too far apart", "retryable": retryable}
            self.store.write(f"{self.path}/error.json", json.dumps({"error": error}).encode())
            return PodExit(status)

        return program


async def eventually(look: Callable[[], Awaitable[T | None]], seconds: float = 90) -> T:
    async with asyncio.timeout(seconds):
        while not (found := await look()):
            await asyncio.sleep(0.1)
    return found
