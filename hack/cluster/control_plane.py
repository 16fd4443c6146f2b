"""etcd, API server and controllers: what they are started with."""

import asyncio
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from cluster.kubeconfigs import write_kubeconfig
from cluster.layout import ISSUER, NODE_ADDRESS, SERVICE_ADDRESS, SERVICE_RANGE, Plan
from cluster.pki import Authority, Credential, service_account_key
from cluster.supervision import Component

_CONTROLLERS: Final = (
    "clusterrole-aggregation-controller",
    "deployment-controller",
    "disruption-controller",
    "endpointslice-controller",
    "garbage-collector-controller",
    "job-controller",
    "namespace-controller",
    "pod-garbage-collector-controller",
    "replicaset-controller",
    "resourcequota-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "ttl-after-finished-controller",
)
"""Without a kubelet nobody renews a node's lease, so whatever judges nodes stays away."""
_SERVER_NAMES: Final = (
    "127.0.0.1",
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    SERVICE_ADDRESS,
    NODE_ADDRESS,
)
# Every request once, when it is answered. Bodies would slow down what tests measure.
_AUDIT_POLICY: Final = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [
        {"level": "None", "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*", "/version", "/openapi/*"]},
        {"level": "Metadata"},
    ],
}


@dataclass(frozen=True)
class Secrets:
    """Who is who in one cluster."""

    authority: Authority
    server: Credential
    """Of API server and etcd, and of the API server as a client of etcd and kubelet."""
    admin: Credential
    service_accounts: str


def make_secrets(plan: Plan) -> Secrets:
    """An authority, and what every level needs of it."""
    authority = Authority(plan.layout.pki)
    return Secrets(
        authority=authority,
        server=authority.issue(
            "kube-apiserver", groups=["system:masters"], names=_SERVER_NAMES, file="server"
        ),
        admin=authority.issue("admin", groups=["system:masters"]),
        service_accounts=str(service_account_key(plan.layout.pki)),
    )


def write_kubeconfigs(plan: Plan, secrets: Secrets) -> None:
    """The administrator's for this machine, and those of the controllers and of the fake kubelet."""
    authority = secrets.authority
    write_kubeconfig(
        plan.layout.kubeconfig,
        server=f"https://127.0.0.1:{plan.api_port}",
        authority=authority.certificate,
        credential=secrets.admin,
    )
    write_client(plan, secrets, "system:kube-controller-manager", "controllers")
    write_client(plan, secrets, "admin", "inside", groups=["system:masters"])
    authority.issue("fake-kubelet", groups=["system:masters"], names=["127.0.0.1"])


def write_client(plan: Plan, secrets: Secrets, user: str, file: str, *, groups: Sequence[str] = ()) -> str:
    """A kubeconfig of a component beside the API server; returns its path."""
    host, port = plan.api_address
    plan.layout.configuration.mkdir(exist_ok=True)
    written = write_kubeconfig(
        plan.layout.configuration / f"{file}.kubeconfig",
        server=f"https://{host}:{port}",
        authority=secrets.authority.certificate,
        credential=secrets.authority.issue(user, groups=groups),
    )
    return str(written)


def components(plan: Plan, secrets: Secrets) -> list[Component]:
    """In the order in which they are started."""
    plan.layout.configuration.mkdir(exist_ok=True)
    return [
        Component("etcd", _etcd(plan, secrets), _answers(secrets, _etcd_health(plan))),
        Component("kube-apiserver", _api_server(plan, secrets), _answers(secrets, _api_health(plan))),
        # Pods are refused in a namespace whose account is not there yet.
        Component("kube-controller-manager", _controllers(plan, secrets), _answers(secrets, _account(plan))),
    ]


def _etcd(plan: Plan, secrets: Secrets) -> list[str]:
    client, peer = f"https://127.0.0.1:{plan.etcd_port}", f"http://127.0.0.1:{plan.peer_port}"
    data = plan.layout.data / "etcd"
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    return [
        plan.binaries["etcd"],
        f"--data-dir={data}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        f"--cert-file={secrets.server.certificate}",
        f"--key-file={secrets.server.key}",
        f"--trusted-ca-file={secrets.authority.certificate}",
        "--client-cert-auth",
        # As kubeadm has it: without it an API server has no bookmark for a watch of what never changes.
        "--watch-progress-notify-interval=5s",
        # What was written outlives a kill of the process, and nothing here outlives the machine.
        "--unsafe-no-fsync",
    ]


def _api_server(plan: Plan, secrets: Secrets) -> list[str]:
    host, port = plan.api_address
    policy = plan.layout.configuration / "audit-policy.json"
    policy.write_text(json.dumps(_AUDIT_POLICY))
    authority, server = secrets.authority.certificate, secrets.server
    node = plan.level == "node"
    return [
        plan.binaries["kube-apiserver"],
        f"--bind-address={host}",
        f"--advertise-address={host}",
        f"--secure-port={port}",
        f"--etcd-servers=https://127.0.0.1:{plan.etcd_port}",
        f"--etcd-cafile={authority}",
        f"--etcd-certfile={server.certificate}",
        f"--etcd-keyfile={server.key}",
        f"--tls-cert-file={server.certificate}",
        f"--tls-private-key-file={server.key}",
        f"--client-ca-file={authority}",
        f"--kubelet-certificate-authority={authority}",
        f"--kubelet-client-certificate={server.certificate}",
        f"--kubelet-client-key={server.key}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-key-file={secrets.service_accounts}",
        f"--service-account-signing-key-file={secrets.service_accounts}",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        f"--authorization-mode={'Node,RBAC' if node else 'RBAC'}",
        f"--enable-admission-plugins={'NodeRestriction,' if node else ''}PodSecurity,ServiceAccount",
        # Loopback may not be the endpoint of a Service.
        *([] if node else ["--endpoint-reconciler-type=none"]),
        "--allow-privileged=true",
        f"--audit-policy-file={policy}",
        f"--audit-log-path={plan.layout.audit_log}",
        "--audit-log-maxsize=10000",
    ]


def _controllers(plan: Plan, secrets: Secrets) -> list[str]:
    return [
        plan.binaries["kube-controller-manager"],
        f"--kubeconfig={plan.layout.configuration / 'controllers.kubeconfig'}",
        f"--controllers={'*' if plan.level == 'node' else ','.join(_CONTROLLERS)}",
        "--leader-elect=false",
        "--secure-port=0",
        "--use-service-account-credentials",
        f"--service-account-private-key-file={secrets.service_accounts}",
        f"--root-ca-file={secrets.authority.certificate}",
        # The defaults are those of a big cluster's good citizen; a test waits for every second.
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
        "--concurrent-job-syncs=20",
    ]


def _etcd_health(plan: Plan) -> str:
    return f"https://127.0.0.1:{plan.etcd_port}/health"


def _api_health(plan: Plan) -> str:
    host, port = plan.api_address
    return f"https://{host}:{port}/readyz"


def _account(plan: Plan) -> str:
    host, port = plan.api_address
    return f"https://{host}:{port}/api/v1/namespaces/default/serviceaccounts/default"


def _answers(secrets: Secrets, url: str) -> Callable[[], Awaitable[bool]]:
    def asked() -> bool:
        context = ssl.create_default_context(cafile=str(secrets.authority.certificate))
        context.load_cert_chain(secrets.admin.certificate, secrets.admin.key)
        try:
            with urllib.request.urlopen(url, context=context, timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    return lambda: asyncio.to_thread(asked)
