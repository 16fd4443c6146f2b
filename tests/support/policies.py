"""Who may reach whom, worked out from NetworkPolicies as Kubernetes reads them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from charts import Rendered
from selfie.kube.pods import GRPC_PORT, METRICS_PORT

Object = Mapping[str, Any]
TEAM = "team"
"""Namespace of the release; see `Helm.rendered`."""
API, PLAIN = 8080, 8080
PORTS = {"grpc": GRPC_PORT, "metrics": METRICS_PORT, "http": PLAIN, "api": API}


@dataclass(frozen=True)
class Pod:
    """Somebody on the network; those of other namespaces have no labels that count."""

    name: str
    namespace: str
    labels: Mapping[str, str]


def _policies(rendered: Rendered, pod: Pod, way: str) -> Iterator[Object]:
    """Those that bind the pod in this direction."""
    for entry in rendered.of("NetworkPolicy").values():
        spec = entry["spec"]
        if pod.namespace == TEAM and way in spec["policyTypes"] and _selects(spec["podSelector"], pod.labels):
            yield spec


def _selects(selector: Object, labels: Mapping[str, str]) -> bool:
    return (selector.get("matchLabels") or {}).items() <= labels.items()


def allows(rendered: Rendered, own: Pod, other: Pod, port: int, way: str) -> bool:
    """As Kubernetes says: who is bound by no policy is free; else one rule of one of them is enough."""
    bound = list(_policies(rendered, own, way))
    end, key = ("from", "ingress") if way == "Ingress" else ("to", "egress")
    rules = [rule for spec in bound for rule in spec.get(key) or ()]
    return not bound or any(_matches(rule, end, other, port) for rule in rules)


def _matches(rule: Object, end: str, other: Pod, port: int) -> bool:
    ports = {PORTS.get(entry["port"], entry["port"]) for entry in rule.get("ports", ())}
    if ports and port not in ports:
        return False
    return not rule.get(end) or any(_peer_is(peer, other) for peer in rule[end])


def _peer_is(peer: Object, other: Pod) -> bool:
    if "namespaceSelector" in peer:
        names = {"kubernetes.io/metadata.name": other.namespace}
        return _selects(peer["namespaceSelector"], names) and _selects(
            peer.get("podSelector", {}), other.labels
        )
    return other.namespace == TEAM and _selects(peer["podSelector"], other.labels)


def reaches(rendered: Rendered, source: Pod, target: Pod, port: int) -> bool:
    """Whether a connection gets out of the one and into the other."""
    return allows(rendered, source, target, port, "Egress") and allows(
        rendered, target, source, port, "Ingress"
    )
