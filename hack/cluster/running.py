"""A cluster that runs: started, found again, and used from Python."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cluster import binaries, control, node_images, pins, thin
from cluster.audit import Event, events
from cluster.layout import Layout, Plan
from cluster.ports import free_ports
from cluster.preconditions import Level, missing
from selfie.errors import FailedPrecondition, Unavailable
from selfie.processes.births import Born, process_birth

_STARTS: Final = 3
_END_LIMIT_S: Final = 30.0
KEEP_VARIABLE: Final = "SELFIE_CLUSTER_KEEP"
"""Set to anything, it lets logs and data stay when a cluster ends."""
_SOURCES: Final = Path(__file__).parents[1]


@dataclass(frozen=True)
class Cluster:
    """One running cluster. Its components are named as their executables are: ``etcd``, ``kubelet``."""

    plan: Plan
    keeper: Born

    @property
    def layout(self) -> Layout:
        """Where its files are."""
        return self.plan.layout

    @property
    def kubeconfig(self) -> Path:
        """The administrator's, for use on this machine."""
        return self.layout.kubeconfig

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        """What kubectl prints; `Unavailable` with its complaint. ``given`` is its standard input."""
        command = [self.plan.binaries["kubectl"], f"--kubeconfig={self.kubeconfig}", *arguments]
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unavailable(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def audit(self) -> list[Event]:
        """What the API server was asked until now, oldest first."""
        return list(events(self.layout.audit_log))

    def kill(self, component: str) -> None:
        """SIGKILL; it stays dead until `start`."""
        control.ask(self.layout.control, "kill", component)

    def start(self, component: str) -> None:
        """Starts a component that was killed, and waits until it is ready."""
        control.ask(self.layout.control, "start", component)

    def restart(self, component: str) -> None:
        """SIGKILL and a new start, ready when this returns."""
        control.ask(self.layout.control, "restart", component)

    def pause(self, component: str) -> None:
        """SIGSTOP: its connections stay open and nothing is answered."""
        control.ask(self.layout.control, "pause", component)

    def resume(self, component: str) -> None:
        """SIGCONT."""
        control.ask(self.layout.control, "resume", component)

    def pids(self) -> dict[str, int]:
        """Process ids of the components that run, as the keeper sees them."""
        return dict(control.ask(self.layout.control, "pids")["pids"])

    def stop(self) -> None:
        """Ends it, and waits until nothing of it is left."""
        with contextlib.suppress(ProcessLookupError):
            if self.keeper.is_alive:
                os.kill(self.keeper.pid, signal.SIGTERM)
        deadline = time.monotonic() + _END_LIMIT_S
        while self.keeper.is_alive:
            if time.monotonic() > deadline:
                self.keeper.send(signal.SIGKILL)
            time.sleep(0.05)


@contextlib.contextmanager
def started(level: Level = "control-plane", *, images: Sequence[Path] = ()) -> Iterator[Cluster]:
    """A cluster that ends with the block, or with this process, however that ends.

    `FailedPrecondition` if this machine cannot run one, with a sentence for each thing that is missing.
    """
    cluster, keeper = _launch(lambda: _plan(level, images=images), owned=True)
    try:
        yield cluster
    finally:
        cluster.stop()
        _reap(keeper)


def start_detached(level: Level, directory: Path, *, images: Sequence[Path] = ()) -> Cluster:
    """A cluster that goes on after this process, until somebody stops what `find` finds."""
    if (directory / "plan.json").exists():
        if find(directory):
            raise FailedPrecondition("AlreadyRunning", f"a cluster runs in {directory}; stop it by `down`")
        shutil.rmtree(directory)
    cluster, keeper = _launch(lambda: _plan(level, directory=directory, images=images), owned=False)
    # It goes on without this process, which is to end without a complaint about that.
    keeper.returncode = 0
    return cluster


def find(directory: Path) -> Cluster | None:
    """The cluster in this directory, if it runs."""
    try:
        pid, birth = json.loads(Layout(directory).record.read_text())
    except FileNotFoundError:
        return None
    cluster = Cluster(Plan.read(directory), Born(pid, birth))
    return cluster if cluster.keeper.is_alive else None


def _plan(level: Level, *, directory: Path | None = None, images: Sequence[Path] = ()) -> Plan:
    lacking = missing(level)
    if lacking:
        raise FailedPrecondition("MachineCannot", f"no {level} cluster here: {'; '.join(lacking)}")
    found = binaries.provide(pins.NODE if level == "node" else pins.CONTROL_PLANE)
    root = directory or Path(tempfile.mkdtemp(prefix="selfie-cluster-"))
    root.mkdir(parents=True, exist_ok=True)
    own = node_images.write_own_images(root) if level == "node" else ()
    etcd, peer, api = free_ports(3)
    return Plan(
        level=level,
        directory=str(root.resolve()),
        binaries={name: str(path) for name, path in found.items()},
        etcd_port=etcd,
        peer_port=peer,
        api_port=api,
        shown=thin.shown_directories() if level == "node" else {},
        images=tuple(str(image) for image in (*own, *images)),
        removes=not os.environ.get(KEEP_VARIABLE),
    )


def _launch(make_plan: Callable[[], Plan], *, owned: bool) -> tuple[Cluster, subprocess.Popen[bytes]]:
    for _ in range(_STARTS - 1):
        try:
            return _launch_once(make_plan(), owned=owned)
        except FailedPrecondition as error:
            # Somebody may have taken a port between the look at it and its use.
            if "address already in use" not in str(error).lower():
                raise
    return _launch_once(make_plan(), owned=owned)


def _launch_once(plan: Plan, *, owned: bool) -> tuple[Cluster, subprocess.Popen[bytes]]:
    layout = plan.layout
    layout.logs.mkdir(parents=True, exist_ok=True)
    plan.write()
    module = "cluster.warden" if plan.level == "node" else "cluster.keeper"
    with (layout.logs / "keeper.log").open("ab") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", module, plan.directory, *(["--owned"] if owned else [])],
            stdin=subprocess.PIPE if owned else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            env=_environment(),
        )
    cluster = Cluster(plan, Born(keeper.pid, process_birth(keeper.pid) or ""))
    layout.record.write_text(json.dumps(cluster.keeper))
    assert keeper.stdout
    said = json.loads(keeper.stdout.readline() or "{}")
    keeper.stdout.close()
    if "ready" not in said:
        _reap(keeper)
        raise FailedPrecondition("ClusterDidNotStart", said.get("error") or _keeper_log(layout))
    return cluster, keeper


def _reap(keeper: subprocess.Popen[bytes]) -> None:
    keeper.wait()
    if keeper.stdin:
        keeper.stdin.close()


def _environment() -> dict[str, str]:
    sources = f"{_SOURCES}:{_SOURCES.parent / 'services'}:{os.environ.get('PYTHONPATH', '')}"
    # What sets up networks is often not on the path of people.
    return {**os.environ, "PYTHONPATH": sources, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}


def _keeper_log(layout: Layout) -> str:
    try:
        return (layout.logs / "keeper.log").read_text()[-2000:]
    except FileNotFoundError:
        return "the keeper ended without a word"
