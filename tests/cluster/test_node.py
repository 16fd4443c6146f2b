"""Real pods on the node: what runs in them, what they see, and that nothing of the node stays."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from cluster import nodes, thin, volumes
from cluster.cgroups import everywhere, name_for, sweep
from cluster.images import write_archive
from cluster.running import Cluster
from clusters import NodeCluster, apply, found, started_or_skipped
from selfie.errors import Unavailable
from selfie.kube.pod_settings import ContainerSettings
from selfie.kube.pods import Container, pod_spec
from waiting import until

SCRATCH = ({"name": "tmp", "emptyDir": {}}, {"name": "tmp", "mountPath": "/tmp"})  # noqa: S108


@pytest.fixture
def node(node_cluster: NodeCluster) -> Cluster:
    return node_cluster.breakable()


@pytest.fixture
def environment(node: Cluster, restricted_namespace: str) -> str:
    """A restricted namespace in which pods of the thin image can run."""
    nodes.make_environment(node, restricted_namespace)
    return restricted_namespace


def _pod(name: str, namespace: str, *command: str, **spec: Any) -> dict[str, Any]:
    volume, mount = volumes.environment_mount()
    container = {
        "name": "main",
        "image": thin.IMAGE,
        "command": ["python", *command],
        "volumeMounts": [mount, SCRATCH[1], *spec.pop("mounts", ())],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        **spec.pop("container", {}),
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 10001,
                "runAsGroup": 10001,
                "fsGroup": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [volume, SCRATCH[0], *spec.pop("volumes", ())],
            **spec,
        },
    }


def _output(cluster: Cluster, pod: dict[str, Any]) -> str:
    """What the pod has written when it has succeeded."""
    apply(cluster, pod)
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]

    def ended() -> str | None:
        phase: str = found(cluster, "pod", name, f"-n={namespace}")["status"]["phase"]
        return phase if phase in {"Succeeded", "Failed"} else None

    phase = until(ended, seconds=100)
    log = cluster.kubectl("logs", name, f"-n={namespace}")
    assert phase == "Succeeded", log
    return log


def test_the_thin_image_runs_as_an_unknown_user_on_a_read_only_root(node: Cluster, environment: str) -> None:
    program = """
        import os
        print(os.getuid())
        for place in ("/", "/environment/checkout", "/environment/venv"):
            try:
                open(os.path.join(place, "written"), "w")
            except OSError as error:
                print(error.strerror)
    """
    said = _output(node, _pod("user", environment, "-c", textwrap.dedent(program)))
    assert said.split("\n")[:-1] == ["10001", *["Read-only file system"] * 3]


def test_a_service_of_selfie_starts_from_the_thin_image(node: Cluster, environment: str) -> None:
    said = _output(node, _pod("service", environment, "-m", "selfie.generation", "--help"))
    assert "--port" in said or "usage" in said.lower()


def test_torch_and_the_rest_find_their_libraries_in_the_thin_image(node: Cluster, environment: str) -> None:
    program = "import torch, transformers, pyarrow, grpc, ssl, sqlite3; print(torch.ones(2).sum().item())"
    pod = _pod("torch", environment, "-c", program)
    assert _output(node, pod).splitlines()[-1] == "2.0"


def test_restricted_pod_security_refuses_a_host_path(node: Cluster, environment: str) -> None:
    pod = _pod("prying", environment, "-V", volumes=[{"name": "host", "hostPath": {"path": "/"}}])
    with pytest.raises(Unavailable, match="violates PodSecurity"):
        apply(node, pod)


def test_pods_find_each_other_by_the_names_of_headless_services(node: Cluster, environment: str) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "worker", "namespace": environment},
        "spec": {"clusterIP": "None", "selector": {"app": "worker"}, "ports": [{"port": 8000}]},
    }
    probe = {"readinessProbe": {"tcpSocket": {"port": 8000}, "periodSeconds": 1}}
    apply(
        node,
        service,
        _pod("worker", environment, "-m", "http.server", "8000", "--directory=/etc", container=probe),
    )
    node.kubectl("wait", "--for=condition=Ready", "pod/worker", f"-n={environment}", "--timeout=100s")
    program = f"""
        import socket, time, urllib.request
        name = "worker.{environment}.svc.cluster.local"
        for _ in range(100):
            try:
                print(urllib.request.urlopen(f"http://{{name}}:8000/nsswitch.conf").read().decode())
                break
            except OSError:
                time.sleep(0.2)
        print(socket.gethostbyname("worker"))
    """
    said = _output(node, _pod("caller", environment, "-c", textwrap.dedent(program))).splitlines()
    address = found(node, "pod", "worker", f"-n={environment}")["status"]["podIP"]
    assert said[0] == "hosts: files dns"
    assert said[-1] == address


def test_a_pod_reaches_a_service_by_its_address(node: Cluster, environment: str) -> None:
    program = """
        import ssl, urllib.error, urllib.request
        context = ssl.create_default_context(cafile="/var/run/secrets/kubernetes.io/serviceaccount/ca.crt")
        answer = urllib.request.urlopen("https://kubernetes.default.svc/version", context=context)
        print(answer.status)
    """
    assert _output(node, _pod("asker", environment, "-c", textwrap.dedent(program))) == "200\n"


def test_what_a_pod_writes_into_a_volume_is_a_file_here(node: Cluster, environment: str) -> None:
    directory = nodes.make_volume(node, "artifacts", environment)
    volume = {"name": "artifacts", "persistentVolumeClaim": {"claimName": "artifacts"}}
    mount = {"name": "artifacts", "mountPath": "/artifacts"}
    program = "open('/artifacts/manifest.json', 'w').write('{}')"
    _output(node, _pod("writer", environment, "-c", program, volumes=[volume], mounts=[mount]))
    assert (directory / "manifest.json").read_text() == "{}"


@pytest.mark.parametrize(
    ("inner", "given", "name"),
    [
        ("localhost/own:1", None, "localhost/own:1"),
        ("1", "localhost/own:2", "localhost/own:2"),
        ("localhost/own:3", "localhost/other:3", "localhost/other:3"),
    ],
)
def test_an_imported_image_can_be_run(
    node: Cluster, environment: str, tmp_path: Path, inner: str, given: str | None, name: str
) -> None:
    # The thin image under another name, so that there is something in it to run.
    archive = write_archive(tmp_path / "own.tar", inner, thin.filesystem(), thin.configuration())
    nodes.import_image(node, archive, name=given)
    assert name in nodes.images(node)
    assert _output(node, _pod("own", environment, "-c", "print(1)", container={"image": name})) == "1\n"


def test_pods_outlive_a_restart_of_the_kubelet(node: Cluster, environment: str) -> None:
    apply(node, _pod("steady", environment, "-c", "import time; time.sleep(600)"))
    node.kubectl("wait", "--for=condition=Ready", "pod/steady", f"-n={environment}", "--timeout=100s")
    before = found(node, "pod", "steady", f"-n={environment}")["status"]["containerStatuses"][0]
    node.restart("kubelet")
    node.kubectl("wait", "--for=condition=Ready", "pod/steady", f"-n={environment}", "--timeout=100s")
    after = found(node, "pod", "steady", f"-n={environment}")["status"]["containerStatuses"][0]
    assert after["containerID"] == before["containerID"]


def test_a_pod_of_a_run_that_is_deleted_while_it_starts_is_gone_at_once(
    node: Cluster, environment: str
) -> None:
    volume, mount = volumes.environment_mount()
    settings = ContainerSettings(
        image=thin.IMAGE, service_account="default", volumes=(volume,), volume_mounts=(mount,)
    )
    # It has no handler for SIGTERM, as all have none before their imports are done.
    starting = Container("starting", "timeit", ("-n1", "-r1", "import time; time.sleep(600)"))
    metadata = {"name": "starting", "namespace": environment}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod_spec(settings, starting)}
    assert pod["spec"]["terminationGracePeriodSeconds"] == 60
    apply(node, pod)
    node.kubectl("wait", "--for=condition=Ready", "pod/starting", f"-n={environment}", "--timeout=100s")
    node.kubectl("delete", "pod", "starting", f"-n={environment}", "--timeout=45s")


def test_a_container_past_its_memory_is_oom_killed(node: Cluster, environment: str) -> None:
    limits = {"resources": {"limits": {"memory": "64Mi"}}}
    apply(node, _pod("greedy", environment, "-c", "b'x' * (1 << 28)", container=limits))

    def ended() -> dict[str, Any] | None:
        statuses = found(node, "pod", "greedy", f"-n={environment}")["status"].get("containerStatuses", ())
        return next((entry["state"].get("terminated") for entry in statuses), None)

    assert until(ended)["reason"] == "OOMKilled"


def test_one_can_run_commands_in_a_pod_and_reach_its_ports(node: Cluster, environment: str) -> None:
    apply(node, _pod("server", environment, "-m", "http.server", "8000", "--directory=/etc"))
    node.kubectl("wait", "--for=condition=Ready", "pod/server", f"-n={environment}", "--timeout=100s")
    said = node.kubectl("exec", "server", f"-n={environment}", "--", "python", "-c", "print('inside')")
    assert said == "inside\n"


def test_a_node_that_has_ended_leaves_nothing(node: Cluster) -> None:
    interfaces = _interfaces()
    with started_or_skipped("node") as other:
        assert _traces(other.keeper.pid, other.plan.directory)
    assert not _traces(other.keeper.pid, other.plan.directory)
    assert _interfaces() == interfaces
    assert not other.layout.root.exists()


@pytest.mark.parametrize("victim", ["owner", "warden"])
def test_a_kill_of_what_a_node_hangs_on_leaves_nothing(node: Cluster, victim: str) -> None:
    interfaces = _interfaces()
    program = """
        import time
        from cluster.running import started
        with started("node") as cluster:
            print(cluster.keeper.pid, cluster.plan.directory, flush=True)
            time.sleep(600)
    """
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert owner.stdout
    warden, directory = owner.stdout.readline().split()
    try:
        os.kill(owner.pid if victim == "owner" else int(warden), signal.SIGKILL)
        owner.kill()
        owner.wait()

        def nothing_is_left() -> bool:
            if victim == "warden":
                # Nobody is left to remove its cgroups: the next start of a node does.
                sweep(everywhere())
            return not _traces(int(warden), directory)

        until(nothing_is_left)
        assert _interfaces() == interfaces
    finally:
        owner.stdout.close()
        shutil.rmtree(directory, ignore_errors=True)


def _traces(warden: int, directory: str) -> list[str]:
    """Processes, mounts and cgroups of a node, as this machine sees them."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    groups = [str(place / name_for(warden)) for place in everywhere()]
    return [
        *_processes(directory),
        *(line for line in mounts if directory in line),
        *(group for group in groups if Path(group).exists()),
    ]


def _processes(directory: str) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if directory in command:
                found.append(command)
    return found


def _interfaces() -> list[str]:
    return sorted(path.name for path in Path("/sys/class/net").iterdir())
