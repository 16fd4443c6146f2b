"""A run whose jobs are made on a cluster in memory, with a real store."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from job_cluster import CONFIG_MAP, SELFIE_RUN, JobCluster
from selfie.artifacts.manifests import publish
from selfie.artifacts.store import Store, open_store
from selfie.kube.api import Api
from selfie.kube.objects import Object
from selfie.rpc.stores import store_opener
from selfie.training.cluster.authority import Asked
from selfie.training.cluster.controller import ClusterJobs
from selfie.training.cluster.granting import Grants
from selfie.training.job import Job
from selfie.training.records import job_name
from training_runs import (
    NAMESPACE,
    NOW,
    asked_from,
    frozen_map,
    run_uri,
    selfie_run,
    trainer_settings,
)


class World:
    """A run on a cluster whose operator has asked for its first step."""

    def __init__(self, root: Path, **spec: Any) -> None:
        self.root = f"file://{root}/artifacts"
        self.cluster = JobCluster()
        self.owner = self.cluster.put(SELFIE_RUN, selfie_run(spec=spec))
        self.cluster.put(CONFIG_MAP, frozen_map(self.owner, root=self.root))
        self.store = open_store(run_uri(self.owner, self.root))
        self.now = NOW
        self.jobs = self.controller()

    def controller(
        self, *, api: Api | None = None, opener: Callable[[str], Store] | None = None
    ) -> ClusterJobs:
        """A controller of its own, as another replica or a restarted one has it."""
        api = api or self.cluster
        grants = Grants(
            api, namespace=NAMESPACE, pods=trainer_settings(image="registry.local/selfie-gpu:2.0")
        )
        opener = opener or store_opener((self.root,))
        return ClusterJobs(api=api, grants=grants, open_store=opener, now=lambda: self.now)

    @property
    def asked(self) -> Asked:
        return asked_from(self.store, self.owner, root=self.root)

    @property
    def name(self) -> str:
        return job_name(self.asked.attempt)

    @property
    def path(self) -> str:
        return self.asked.attempt.path

    async def create(self, jobs: ClusterJobs | None = None, asked: Asked | None = None) -> Job:
        asked = asked or self.asked
        return await (jobs or self.jobs).create(
            asked.attempt, request_id=asked.request_id, program=asked.program, parameters=asked.parameters
        )

    async def get(self) -> Job:
        return await self.jobs.get(self.name)

    def publish(self) -> None:
        publish(self.store, self.asked.attempt.manifest(writer="w", started_at=NOW))

    def fail(self, reason: str = "ParityBroken", *, retryable: bool = False) -> None:
        error = {"reason": reason, "message": "too far apart", "retryable": retryable}
        self.store.write(f"{self.path}/error.json", json.dumps({"error": error}).encode())


def container(job: Object) -> Object:
    (found,) = job["spec"]["template"]["spec"]["containers"]
    return found
