"""containerd, kubelet, kube-proxy, scheduler and DNS: what they are started with."""

import asyncio
import json
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

from cluster import control_plane
from cluster.control_plane import Secrets
from cluster.layout import CLUSTER_DOMAIN, NODE_ADDRESS, NODE_NAME, POD_RANGE, Plan
from cluster.preconditions import CNI_PLUGINS
from cluster.supervision import Component

CONTAINERD: Final = "/run/selfie/containerd.sock"
PAUSE_IMAGE: Final = "localhost/selfie-pause:1"
_KUBELET_HEALTH: Final = 10248
_DNS_USER: Final = "system:coredns"


def components(plan: Plan, secrets: Secrets) -> list[Component]:
    """In the order in which they are started."""
    first = control_plane.components(plan, secrets)
    return [
        Component("containerd", _containerd(plan), lambda: _imported(plan)),
        *first,
        Component("kube-scheduler", _scheduler(plan, secrets)),
        Component("kubelet", _kubelet(plan, secrets), lambda: _node_is_ready(plan)),
        Component("kube-proxy", _proxy(plan, secrets)),
        Component("coredns", _dns(plan, secrets), lambda: _dns_may_read(plan)),
    ]


def ctr(*arguments: str) -> list[str]:
    """The command for containerd's own client, inside the node's namespaces."""
    return ["ctr", f"--address={CONTAINERD}", "--namespace=k8s.io", *arguments]


def _containerd(plan: Plan) -> list[str]:
    configuration = plan.layout.configuration / "containerd.toml"
    network = _directory(plan.layout.configuration / "cni")
    (network / "10-bridge.conflist").write_text(json.dumps(_bridge()))
    cri = '[plugins."io.containerd.grpc.v1.cri"'
    configuration.write_text(
        f"""version = 2
root = "{_directory(plan.layout.data / "containerd")}"
state = "/run/selfie/containerd"
[grpc]
address = "{CONTAINERD}"
{cri}]
sandbox_image = "{PAUSE_IMAGE}"
# Root without CAP_SYS_RESOURCE, as in many a virtual machine, may only raise the score.
restrict_oom_score_adj = true
disable_apparmor = true
{cri}.cni]
bin_dir = "{CNI_PLUGINS}"
conf_dir = "{network}"
{cri}.containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"
{cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
{cri}.containerd.runtimes.runc.options]
SystemdCgroup = false
[plugins."io.containerd.internal.v1.opt"]
path = "/run/selfie/opt"
"""
    )
    return ["containerd", f"--config={configuration}"]


def _bridge() -> dict[str, Any]:
    bridge = {
        "type": "bridge",
        "bridge": "pods0",
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": POD_RANGE}]],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": "/run/selfie/addresses",
        },
    }
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge]}


def _scheduler(plan: Plan, secrets: Secrets) -> list[str]:
    kubeconfig = control_plane.write_client(plan, secrets, "system:kube-scheduler", "scheduler")
    return [
        plan.binaries["kube-scheduler"],
        f"--kubeconfig={kubeconfig}",
        "--leader-elect=false",
        "--secure-port=0",
    ]


def _kubelet(plan: Plan, secrets: Secrets) -> list[str]:
    user = f"system:node:{NODE_NAME}"
    kubeconfig = control_plane.write_client(plan, secrets, user, "kubelet", groups=["system:nodes"])
    server = secrets.authority.issue(user, names=[NODE_ADDRESS, NODE_NAME], file="kubelet-server")
    names = plan.layout.configuration / "resolv.conf"
    names.touch()
    settings = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_ADDRESS,
        "healthzPort": _KUBELET_HEALTH,
        "tlsCertFile": str(server.certificate),
        "tlsPrivateKeyFile": str(server.key),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(secrets.authority.certificate)},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{CONTAINERD}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{plan.cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "oomScoreAdj": 0,
        "clusterDNS": [NODE_ADDRESS],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": str(names),
        "makeIPTablesUtilChains": False,
        "volumePluginDir": str(_directory(plan.layout.data / "volume-plugins")),
        # A test's images are few, and are not to be had again.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "nodeStatusUpdateFrequency": "5s",
    }
    return [
        plan.binaries["kubelet"],
        f"--config={_write(plan, 'kubelet.json', settings)}",
        f"--kubeconfig={kubeconfig}",
        f"--root-dir={_directory(plan.layout.data / 'kubelet')}",
        f"--hostname-override={NODE_NAME}",
        f"--node-ip={NODE_ADDRESS}",
    ]


def _proxy(plan: Plan, secrets: Secrets) -> list[str]:
    settings = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {
            "kubeconfig": control_plane.write_client(plan, secrets, "system:kube-proxy", "proxy")
        },
        "mode": "nftables",
        "clusterCIDR": POD_RANGE,
        "hostnameOverride": NODE_NAME,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        # These limits belong to the whole machine.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }
    return [plan.binaries["kube-proxy"], f"--config={_write(plan, 'proxy.json', settings)}"]


def _dns(plan: Plan, secrets: Secrets) -> list[str]:
    kubeconfig = control_plane.write_client(plan, secrets, _DNS_USER, "dns")
    corefile = plan.layout.configuration / "Corefile"
    corefile.write_text(
        f""".:53 {{
    bind {NODE_ADDRESS}
    errors
    kubernetes {CLUSTER_DOMAIN} in-addr.arpa {{
        kubeconfig {kubeconfig}
        ttl 1
    }}
    # There is no world outside.
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""
    )
    return [plan.binaries["coredns"], "-conf", str(corefile)]


async def _imported(plan: Plan) -> bool:
    for image in plan.images:
        if await _call(*ctr("images", "import", image)):
            return False
    return await _call(*ctr("version")) == 0


async def _node_is_ready(plan: Plan) -> bool:
    # After a restart the node's status is still that of the kubelet before.
    if not await asyncio.to_thread(_kubelet_is_healthy):
        return False
    ready = '{.status.conditions[?(@.type=="Ready")].status}'
    command = _kubectl(plan, "get", "node", NODE_NAME, f"--output=jsonpath={ready}")
    asked = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    return asked.stdout == "True"


def _kubelet_is_healthy() -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{_KUBELET_HEALTH}/healthz", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


async def _dns_may_read(plan: Plan) -> bool:
    resources = "endpoints,services,pods,namespaces,endpointslices.discovery.k8s.io"
    role = ("create", "clusterrole", _DNS_USER, "--verb=list,watch", f"--resource={resources}")
    binding = ("create", "clusterrolebinding", _DNS_USER, f"--clusterrole={_DNS_USER}", f"--user={_DNS_USER}")
    for command in (role, binding):
        await _call(*_kubectl(plan, *command))
    return await _call(*_kubectl(plan, "get", "clusterrolebinding", _DNS_USER)) == 0


def _kubectl(plan: Plan, *arguments: str) -> list[str]:
    return [
        plan.binaries["kubectl"],
        f"--kubeconfig={plan.layout.configuration / 'inside.kubeconfig'}",
        *arguments,
    ]


async def _call(*command: str) -> int:
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=False)
    return done.returncode


def _write(plan: Plan, name: str, content: dict[str, Any]) -> Path:
    file = plan.layout.configuration / name
    file.write_text(json.dumps(content, indent=1))
    return file


def _directory(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    return path
