"""A release per namespace on one control plane, with everything real but the work, and faults between.

Real are the API server with the chart's own Roles, the controllers, the operator's process and the
training controller; a fake node moves the pods, and `SimulatedWork` is what runs in them. Between an
operator and the API server is a `FaultProxy`; nobody else's requests go through it.
"""

import asyncio
import json
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import structlog
import yaml
from grpc_health.v1 import health_pb2_grpc

from charts import VALUES, Helm, Rendered, found_helm
from chronicles import AuditTail, Chronicle
from cluster.fake_kubelet import FakeKubelet
from cluster.running import Cluster
from fault_proxy import FaultProxy
from fault_services import Health
from fault_stage import Stage
from fault_work import SimulatedWork
from operator_nursery import Nursery
from raw_api import RawApi, tls_context
from releases import install_accounts, install_crd, kubeconfig, made, server_of, token_of
from selfie.kube.client import ClientSettings, KubeApi, connect
from selfie.kube.labels import NAME, RUN
from selfie.kube.objects import SERVICE, Object, uid_of
from selfie.kube.pod_settings import PodSettings
from selfie.kube.transport import Access
from selfie.rpc.entrances import Entrance
from selfie.rpc.server import build_server
from selfie.rpc.settings import ServerSettings
from selfie.rpc.stores import store_opener
from selfie.training.cluster.controller import ClusterJobs
from selfie.training.cluster.granting import Grants
from selfie.training.cluster.sweeping import Sweeper
from selfie.training.servicer import TrainingServicer
from selfie.v1 import training_pb2_grpc


class Bench:
    """What all namespaces share."""

    def __init__(self, cluster: Cluster, helm: Helm, folder: Path, sockets: Path) -> None:
        self.cluster, self.folder, self.sockets = cluster, folder, sockets
        self.rendered: Rendered = helm.rendered(VALUES["volume"])
        self.root = f"file://{folder}/artifacts"
        self.pods_file = folder / "pods.yaml"
        self.pods_file.write_text(yaml.safe_dump(self.rendered.run_pods()))
        self.audit = AuditTail(cluster.layout.audit_log)
        self.chronicle = Chronicle()
        self.stages: dict[str, Stage] = {}
        self._server = server_of(cluster)["server"]
        self._context = tls_context(server_of(cluster), {})
        self.api: KubeApi
        self.node: FakeKubelet
        self.nursery: Nursery
        self.work: SimulatedWork

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Bench"]:
        settings = ClientSettings(
            access=Access(kubeconfig=self.cluster.kubeconfig), per_second=2000, burst=2000
        )
        # Every call of the services would be a line.
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
        async with AsyncExitStack() as stack:
            stack.callback(structlog.reset_defaults)
            self.api = await stack.enter_async_context(connect(settings))
            self.work = SimulatedWork(self.sockets, self._service)
            self.work.told = self._published
            self._loop = asyncio.get_running_loop()
            await stack.enter_async_context(self.work.serving())
            self.node = FakeKubelet(self.cluster, run=self.work.program)
            await asyncio.to_thread(self.node.__enter__)
            stack.push_async_callback(asyncio.to_thread, self.node.__exit__, None, None, None)
            self.nursery = await stack.enter_async_context(Nursery.started())
            following = asyncio.create_task(self.chronicle.follow(self.api))
            stack.callback(following.cancel)
            yield self

    @asynccontextmanager
    async def stage(self) -> AsyncIterator[Stage]:
        """A namespace of its own; what is left in it goes with the cluster."""
        namespace = f"f-{secrets.token_hex(4)}"
        folder = self.folder / namespace
        folder.mkdir()
        proxy = FaultProxy(self._server, self._context)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(proxy.serving())
            stage = Stage(self, namespace, folder, proxy)
            await asyncio.to_thread(self._install, stage)
            await stack.enter_async_context(self._controller(stage))
            self.stages[namespace] = stage
            try:
                yield stage
            finally:
                for task in stage.tasks:
                    task.cancel()
                for process in stage.operators:
                    process.kill()
                del self.stages[namespace]

    def _install(self, stage: Stage) -> None:
        space = stage.namespace
        with RawApi(self.cluster.kubeconfig) as raw:
            install_accounts(raw, self.rendered, space)
            labels = {NAME: "selfie", RUN: "run"}
            nudge = {"metadata": {"name": "nudge", "labels": labels}, "spec": {"clusterIP": "None"}}
            made(raw, f"/api/v1/namespaces/{space}/services", nudge)
            stage.token = token_of(raw, space, "operator")
            direct = kubeconfig(server_of(self.cluster), token_of(raw, space, "training"))
        (stage.folder / "training.kubeconfig").write_text(json.dumps(direct))

    @asynccontextmanager
    async def _controller(self, stage: Stage) -> AsyncIterator[None]:
        access = Access(kubeconfig=stage.folder / "training.kubeconfig")
        async with connect(ClientSettings(access=access, agent="selfie-training")) as api:
            pods = PodSettings.read(self.pods_file).trainer
            jobs = ClusterJobs(
                api=api,
                grants=Grants(api, namespace=stage.namespace, pods=pods),
                open_store=store_opener((self.root,)),
            )
            sweeper = Sweeper(api, jobs, namespace=stage.namespace, keep_s=2, every_s=3)
            server = build_server(ServerSettings(), Entrance.of(ServerSettings()))
            training_pb2_grpc.add_TrainingServiceServicer_to_server(TrainingServicer(jobs), server)
            health_pb2_grpc.add_HealthServicer_to_server(Health(None), server)
            server.add_insecure_port(f"unix:{stage.socket}")
            await server.start()
            sweeping = asyncio.create_task(sweeper.run())
            try:
                yield
            finally:
                sweeping.cancel()
                await server.stop(0.1)

    async def _service(self, name: str, namespace: str) -> Object | None:
        return await self.api.get(SERVICE, name, namespace=namespace)

    def _published(self, uid: str, step: str) -> None:
        self._loop.call_soon_threadsafe(self._nudge, uid)

    def _nudge(self, uid: str) -> None:
        for (namespace, _), found in self.chronicle.latest.items():
            if uid_of(found) == uid and namespace in self.stages:
                stage = self.stages[namespace]
                stage.tasks.append(asyncio.create_task(stage.nudge()))


@asynccontextmanager
async def opened(cluster: Cluster, folder: Path) -> AsyncIterator[Bench]:
    """A bench on this control plane; a test without helm is skipped."""
    install_crd(cluster)
    with TemporaryDirectory(prefix="sf") as sockets:
        async with Bench(cluster, found_helm(cluster.kubeconfig), folder, Path(sockets)).open() as bench:
            yield bench
