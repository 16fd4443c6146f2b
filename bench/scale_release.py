"""A release under load on a control plane: operator and training controller as processes, simulated work.

Real are etcd, API server, controllers, the chart's accounts and Roles, operator and training
controller. Pods are those of a fake node, and what runs in them publishes its manifest at once; so
what is measured is what runs cost that compute nothing.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import structlog
import yaml
from processes import Meter
from scale_parts import NAMESPACE, Gate, Told
from scrapes import Scrape

from charts import VALUES, found_helm
from cluster.fake_kubelet import FakeKubelet
from cluster.running import Cluster
from fault_stage import SPEC
from fault_work import SimulatedWork
from raw_api import RawApi
from releases import install_accounts, install_crd, kubeconfig, server_of, token_of
from selfie.kube.client import ClientSettings, connect
from selfie.kube.objects import SELFIE_RUN, SERVICE, Object
from selfie.kube.transport import Access

MODULES = {"operator": "selfie_operator", "training": "selfie.training"}


class Release:
    """Processes of the release, started and ended at will."""

    def __init__(self, cluster: Cluster, folder: Path, limits: Mapping[str, tuple[float, int]]) -> None:
        self.cluster, self.folder, self._limits = cluster, folder, limits
        self.root = f"file://{folder}/artifacts"
        self.runs, self.services = Told(SELFIE_RUN), Told(SERVICE)
        self.work = SimulatedWork(folder, self._found)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.ended_by_itself = 0
        self.meter = Meter(self._pids)

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Release"]:
        """With the accounts made, the work served and the training controller started."""
        async with AsyncExitStack() as stack:
            settings = ClientSettings(
                access=Access(kubeconfig=self.cluster.kubeconfig), per_second=2000, burst=2000
            )
            self.api = await stack.enter_async_context(connect(settings))
            await asyncio.to_thread(self._install)
            await stack.enter_async_context(self.work.serving())
            self.node = FakeKubelet(self.cluster, run=self.work.program)
            await asyncio.to_thread(self.node.__enter__)
            stack.push_async_callback(asyncio.to_thread, self.node.__exit__, None, None, None)
            follows = (self.runs.follow(self.api), self.services.follow(self.api))
            for task in (*follows, self.meter.run(), self.keep()):
                stack.callback(asyncio.create_task(task).cancel)
            stack.callback(self._end)
            await self.start("training")
            yield self

    async def start(self, name: str) -> None:
        """Starts the process, and waits until it listens."""
        place = self.folder / f"{name}.port"
        place.unlink(missing_ok=True)
        self.processes[name] = await asyncio.to_thread(self._started, name)
        while not place.exists():
            if self.processes[name].poll() is not None:
                raise SystemExit((self.folder / f"{name}.log").read_text()[-2000:])
            await asyncio.sleep(0.02)

    async def keep(self) -> None:
        """Starts the operator again whenever it ends by itself, as a kubelet does; never returns."""
        while True:
            operator = self.processes.get("operator")
            if operator is not None and operator.poll() is not None:
                self.ended_by_itself += 1
                print(f"the operator has ended: {self.log('operator')[-1500:]}", file=sys.stderr)
                await self.start("operator")
            await asyncio.sleep(0.5)

    async def stop(self, name: str, signum: signal.Signals = signal.SIGTERM) -> None:
        """Ends the process, and waits until it has ended."""
        process = self.processes.pop(name)
        process.send_signal(signum)
        await asyncio.to_thread(process.wait, 60)

    async def create(self, name: str) -> None:
        """A run of three rounds."""
        wanted = {
            "apiVersion": SELFIE_RUN.api_version,
            "kind": SELFIE_RUN.kind,
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": SPEC,
        }
        await self.api.create(SELFIE_RUN, wanted)

    def open_gate(self, gate: Gate) -> None:
        """Lets the programs that it holds go on."""
        self.node._loop.call_soon_threadsafe(gate.opened.set)

    def ended(self) -> dict[str, str]:
        """Of each run that has ended, whether it is ``Complete`` or ``Failed``."""
        return {name: how for name, found in self.runs.objects.items() if (how := _end_of(found))}

    async def until(self, holds: Any, *, seconds: float, what: str) -> float:
        """Waits until it holds; returns the seconds that took."""
        began = time.monotonic()
        while not holds():
            if time.monotonic() - began > seconds:
                raise SystemExit(f"not within {seconds:g} s: {what}; logs are in {self.folder}")
            await asyncio.sleep(0.1)
        return time.monotonic() - began

    async def scraped(self, name: str) -> Scrape:
        """What the process tells Prometheus."""
        port = json.loads((self.folder / f"{name}.port").read_text())["metricsPort"]

        def ask() -> str:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
                return str(answer.read().decode())

        return Scrape.of(await asyncio.to_thread(ask))

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def _install(self) -> None:
        install_crd(self.cluster)
        rendered = found_helm(self.cluster.kubeconfig).rendered(VALUES["volume"])
        (self.folder / "pods.yaml").write_text(yaml.safe_dump(rendered.run_pods()))
        with RawApi(self.cluster.kubeconfig) as raw:
            install_accounts(raw, rendered, NAMESPACE)
            for name in MODULES:
                way = kubeconfig(server_of(self.cluster), token_of(raw, NAMESPACE, name))
                (self.folder / f"{name}.kubeconfig").write_text(json.dumps(way))

    def _started(self, name: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", MODULES[name]]
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(command, env=self._environment(name), stdout=log, stderr=log)

    def _environment(self, name: str) -> dict[str, str]:
        per_second, burst = self._limits[name]
        if name == "training":
            own = {"SELFIE_BACKEND": "kubernetes", "SELFIE_ARTIFACT_ROOTS": json.dumps([self.root])}
        else:
            port = json.loads((self.folder / "training.port").read_text())["port"]
            own = {
                "SELFIE_TRAINING_ADDRESS": f"127.0.0.1:{port}",
                "SELFIE_GENERATION_ADDRESS": self.work.shared,
                "SELFIE_FILTERING_ADDRESS": self.work.shared,
                "SELFIE_RUN_SERVICE_ADDRESS": self.work.of_run,
                "SELFIE_ARTIFACTS_ROOT": self.root,
            }
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(sys.path),
            "SELFIE_KUBECONFIG": str(self.folder / f"{name}.kubeconfig"),
            "SELFIE_NAMESPACE": NAMESPACE,
            "SELFIE_PODS": str(self.folder / "pods.yaml"),
            "SELFIE_POD_UID": f"pod-{name}",
            "SELFIE_PORT": "0",
            "SELFIE_PORT_FILE": str(self.folder / f"{name}.port"),
            "SELFIE_API_QPS": str(per_second),
            "SELFIE_API_BURST": str(burst),
            **own,
        }

    def _pids(self) -> dict[str, int]:
        own = {name: process.pid for name, process in self.processes.items()}
        return {**self._of_cluster, **own, "bench": os.getpid()}

    @cached_property
    def _of_cluster(self) -> dict[str, int]:
        return self.cluster.pids()

    async def _found(self, name: str, _namespace: str) -> Object | None:
        return self.services.objects.get(name)

    def _end(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()


@asynccontextmanager
async def opened(cluster: Cluster, limits: Mapping[str, tuple[float, int]]) -> AsyncIterator[Release]:
    """A release on this control plane, in a directory that goes with it."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    with TemporaryDirectory(prefix="sfs") as folder:
        async with Release(cluster, Path(folder), limits).open() as release:
            try:
                yield release
            except BaseException:
                for name in MODULES:
                    print(f"--- {name}: {release.log(name)[-3000:]}", file=sys.stderr)
                raise


def _end_of(found: Object) -> str:
    conditions = (found.get("status") or {}).get("conditions") or ()
    return next(
        (c["type"] for c in conditions if c["type"] in {"Complete", "Failed"} and c["status"] == "True"), ""
    )
