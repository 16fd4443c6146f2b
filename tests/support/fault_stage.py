"""One namespace with a release in it, its operators, and what a test asks of them."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fault_proxy import FaultProxy
from releases import kubeconfig
from selfie.artifacts.store import Store, open_store
from selfie.errors import SelfieError
from selfie.kube.labels import RUN_UID
from selfie.kube.objects import DEPLOYMENT, JOB, POD, SELFIE_RUN, SERVICE, Object, name_of, uid_of
from selfie.runs.names import run_path
from selfie.runs.status import RunStatus
from selfie_operator.reconciling.subject import status_of

if TYPE_CHECKING:
    from fault_bench import Bench

T = TypeVar("T")

SPEC: dict[str, Any] = {
    "model": {"uri": "builtin://toy"},
    "seed": {"dataset": "data/seed.jsonl"},
    "rounds": [{"prompts": {"dataset": "data/prompts.jsonl", "count": 8}}] * 3,
    "evaluation": {"initial": False},
}

_CHILDREN = (DEPLOYMENT, SERVICE, POD, JOB)


@dataclass
class OperatorProcess:
    """One operator, started again whenever it ends, as a kubelet does; ``pid`` 0 between two lives."""

    stage: "Stage"
    identity: str
    environment: dict[str, str]
    pid: int = 0
    exits: list[int] = field(default_factory=list)
    stays_down: bool = False

    def signal(self, signum: signal.Signals) -> None:
        if self.pid:
            self.stage.bench.nursery.signal(self.pid, signum)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)

    @property
    def log(self) -> Path:
        return self.stage.folder / f"{self.identity}.log"

    async def keep(self) -> None:
        nursery = self.stage.bench.nursery
        while True:
            if self.stays_down:
                await asyncio.sleep(0.05)
                continue
            self.pid = await nursery.start(self.environment, self.log)
            while (ended := await nursery.ended(self.pid)) is None:
                await asyncio.sleep(0.1)
            self.pid = 0
            self.exits.append(ended)


class Stage:
    """One namespace with a release in it, its proxy, and whatever operators a test starts."""

    def __init__(self, bench: "Bench", namespace: str, folder: Path, proxy: FaultProxy) -> None:
        self.bench, self.namespace, self.folder, self.proxy = bench, namespace, folder, proxy
        self.operators: list[OperatorProcess] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.began = asyncio.get_running_loop().time()

    @property
    def root(self) -> str:
        return self.bench.root

    def operate(
        self, identity: str = "a", *, proxy: FaultProxy | None = None, **settings: object
    ) -> OperatorProcess:
        """Starts an operator; ``settings`` are further ones, by their name in the environment."""
        folder, work = self.folder, self.bench.work
        way = folder / f"{identity}.kubeconfig"
        way.write_text(json.dumps(kubeconfig({"server": (proxy or self.proxy).url}, self.token)))
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(sys.path),
            "SELFIE_KUBECONFIG": str(way),
            "SELFIE_NAMESPACE": self.namespace,
            "SELFIE_IDENTITY": identity,
            # A kubelet starts the next process in the pod of the last one.
            "SELFIE_POD_UID": f"pod-{identity}",
            "SELFIE_PORT": "0",
            "SELFIE_PORT_FILE": str(folder / f"{identity}.port"),
            "SELFIE_GENERATION_ADDRESS": work.shared,
            "SELFIE_FILTERING_ADDRESS": work.shared,
            "SELFIE_TRAINING_ADDRESS": f"unix:{self.socket}",
            "SELFIE_RUN_SERVICE_ADDRESS": work.of_run,
            "SELFIE_ARTIFACTS_ROOT": self.root,
            "SELFIE_PODS": str(self.bench.pods_file),
            "SELFIE_API_SECONDS": "10",
            **{f"SELFIE_{name.upper()}": str(value) for name, value in settings.items()},
        }
        process = OperatorProcess(self, identity, environment)
        self.operators.append(process)
        self.tasks.append(asyncio.create_task(process.keep()))
        return process

    @property
    def socket(self) -> Path:
        # Short: the name of a socket has room for a hundred characters.
        return self.bench.sockets / f"{self.namespace}.sock"

    async def apply(self, name: str = "run", **spec: Any) -> Object:
        """Creates a run of three rounds."""
        wanted = {
            "apiVersion": SELFIE_RUN.api_version,
            "kind": SELFIE_RUN.kind,
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {**SPEC, **spec},
        }
        return await self.bench.api.create(SELFIE_RUN, wanted)

    async def change(self, change: Object, name: str = "run") -> None:
        await self.bench.api.patch(SELFIE_RUN, name, change, namespace=self.namespace)

    def run(self, name: str = "run") -> Object | None:
        return self.bench.chronicle.latest.get((self.namespace, name))

    def status(self, name: str = "run") -> RunStatus:
        found = self.run(name)
        return status_of(found) if found else RunStatus()

    def store(self, name: str = "run") -> Store:
        found = self.run(name)
        assert found is not None
        return open_store(f"{self.root}/{run_path(self.namespace, name, uid_of(found))}")

    async def until(self, holds: Callable[[], T], *, seconds: float = 180) -> T:
        """The first true answer; it is asked for ten times a second."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not (answer := holds()):
            assert asyncio.get_running_loop().time() < deadline, self.standing()
            await asyncio.sleep(0.1)
        return answer

    async def come_to(self, step: str, name: str = "run", *, seconds: float = 180) -> None:
        """Waits until the run has come to the step; it may be over by then, so quickly does it go."""

        def seen() -> bool:
            found = self.run(name)
            told = self.bench.chronicle.history.get(uid_of(found), ()) if found else ()
            return any(status.step == step for status in told)

        await self.until(seen, seconds=seconds)

    async def ended(self, name: str = "run", *, seconds: float = 240) -> RunStatus:
        """The status of the run once it has ended and nothing of it is left but itself."""
        await self.until(lambda: self.status(name).is_terminal, seconds=seconds)
        await self.released(name)
        return self.status(name)

    async def released(self, name: str = "run", *, seconds: float = 90) -> float:
        """Waits until nothing holds resources for the run; returns how many seconds that took."""
        found = self.run(name)
        assert found is not None
        return await self.gone(uid_of(found), seconds=seconds)

    async def gone(self, uid: str, *, seconds: float = 90) -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        while left := await self._left(uid):
            assert loop.time() - began < seconds, f"left of {uid}: {left}; {self.standing()}"
            await asyncio.sleep(0.5)
        return loop.time() - began

    async def _left(self, uid: str) -> list[str]:
        try:
            return await self.children(uid)
        except SelfieError as error:
            return [str(error)]

    async def children(self, uid: str) -> list[str]:
        """What there is of the run's own objects; a Job that has ended is no longer one."""
        found = []
        for kind in _CHILDREN:
            listing = await self.bench.api.list(kind, namespace=self.namespace, labels={RUN_UID: uid})
            found += [f"{kind.plural}/{name_of(item)}" for item in listing.items if not _is_over(kind, item)]
        return found

    def standing(self) -> str:
        """What a person would look at first."""
        told = {
            name: found.get("status", {})
            for (space, name), found in self.bench.chronicle.latest.items()
            if space == self.namespace
        }
        logs = {
            entry.identity: entry.log.read_text()[-1500:] for entry in self.operators if entry.log.exists()
        }
        exits = {entry.identity: entry.exits for entry in self.operators}
        conditions = {
            name: [(c["type"], c["status"], c["reason"], c["message"]) for c in s.get("conditions", ())]
            for name, s in told.items()
        }
        return f"{self.namespace}: {conditions} exits {exits}\n{logs}"

    async def nudge(self) -> None:
        """Has the operator look again: the work here is done sooner than it looks by itself."""
        mark = {"metadata": {"annotations": {"at": str(asyncio.get_running_loop().time())}}}
        with suppress(SelfieError):
            await self.bench.api.patch(SERVICE, "nudge", mark, namespace=self.namespace)

    # Filled in by the bench.
    token: str = ""


def _is_over(kind: Any, found: Object) -> bool:
    if kind == JOB:
        conditions = (found.get("status") or {}).get("conditions") or ()
        return any(c["type"] in {"Complete", "Failed"} and c["status"] == "True" for c in conditions)
    return kind == POD and (found.get("status") or {}).get("phase") in {"Succeeded", "Failed"}
