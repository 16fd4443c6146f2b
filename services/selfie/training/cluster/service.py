"""Puts the controller of Kubernetes Jobs together for as long as its service lives."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from selfie.errors import InvalidInput
from selfie.kube.client import ClientSettings, connect
from selfie.kube.pod_settings import PodSettings
from selfie.kube.transport import Access
from selfie.rpc.stores import store_opener
from selfie.training.cluster.controller import ClusterJobs
from selfie.training.cluster.granting import Grants
from selfie.training.cluster.metrics import REQUESTS
from selfie.training.cluster.sweeping import Sweeper
from selfie.training.settings import TrainingSettings


@asynccontextmanager
async def cluster_jobs(settings: TrainingSettings) -> AsyncIterator[ClusterJobs]:
    """The jobs of the cluster that the settings name, with those that have ended swept away."""
    if settings.pods is None:
        raise InvalidInput("pods", "is missing", "give --pods FILE")
    pods = PodSettings.read(settings.pods).trainer
    asked = ClientSettings(
        access=Access(kubeconfig=settings.kubeconfig),
        agent="selfie-training",
        per_second=settings.api_qps,
        burst=settings.api_burst,
    )
    async with connect(asked, on_answer=lambda *labels: REQUESTS.labels(*labels).inc()) as api:
        jobs = ClusterJobs(
            api=api,
            grants=Grants(api, namespace=settings.namespace, pods=pods),
            open_store=store_opener(settings.artifact_roots),
        )
        sweeper = Sweeper(
            api,
            jobs,
            namespace=settings.namespace,
            keep_s=settings.keep_seconds,
            every_s=settings.sweep_seconds,
        )
        sweeping = asyncio.create_task(sweeper.run())
        try:
            yield jobs
        finally:
            sweeping.cancel()
            with suppress(asyncio.CancelledError):
                await sweeping
