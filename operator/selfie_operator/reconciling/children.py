"""What a run's own services are made of: a Deployment and a Service each, as they are wanted.

Pure: from the run, what was frozen when it started, and the weights that are wanted.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from selfie.errors import FailedPrecondition
from selfie.kube.frozen import Frozen
from selfie.kube.labels import COMPONENT, POLICY, RUN_UID, WEIGHTS, child_labels, owner_reference
from selfie.kube.objects import DEPLOYMENT, POD, SERVICE, Kind, Object, namespace_of, uid_of
from selfie.kube.pod_settings import ServerSettings
from selfie.kube.pods import GRPC_PORT, METRICS_PORT, pod_metadata
from selfie.runs.names import engine_name, scoring_name, weights_label
from selfie.runs.spec import RunSpec
from selfie.runs.steps import ENGINE, SCORING
from selfie.runs.wanted import ServiceWanted
from selfie_operator.reconciling.own_pods import digest_of, own_pod, server_pod

WANTED: Final = "selfie.dev/wanted"
"""Annotation: digest of the object as it was wanted; what a server adds to it is no change."""
WEIGHTS_NOTE: Final = "selfie.dev/weights"
"""Annotation of a Deployment: digests of the weights by their roles, as JSON."""
OWN: Final = (ENGINE, SCORING)
"""Services that a run has of its own; all others are shared."""

Goals: TypeAlias = Mapping[str, Mapping[Kind, Object]]
"""What shall be there, by service and kind; what is not named shall not.

What is given for pods is their labels and annotations; pods themselves are made by a Deployment.
"""


def child_name(service: str, run_uid: str) -> str:
    """Name of the Deployment and of the Service."""
    return engine_name(run_uid) if service == ENGINE else scoring_name(run_uid)


def goals_of(owner: Object, spec: RunSpec, frozen: Frozen, wanted: Mapping[str, ServiceWanted]) -> Goals:
    """The objects of the run's own services among those that are wanted."""
    found = {}
    for name in (own for own in OWN if own in wanted):
        server = server_of(spec, frozen, name)
        found[name] = {
            SERVICE: service_of(owner, spec, wanted[name], server),
            DEPLOYMENT: deployment_of(owner, spec, frozen, wanted[name], server),
            **_notes_of(wanted[name], server),
        }
    return found


def _notes_of(wanted: ServiceWanted, server: ServerSettings | None) -> Mapping[Kind, Object]:
    """What pods that stay where they are have to be told, since no template tells them."""
    if server is None or not server.in_place:
        return {}
    policy = wanted.weights["policy"]
    note = {"step": policy.source.step, "group": policy.source.group, "digest": digest_of(policy)}
    annotations = {POLICY: json.dumps(note, sort_keys=True)}
    return {POD: {"metadata": {"labels": {WEIGHTS: weights_label_of(wanted)}, "annotations": annotations}}}


def deployment_of(
    owner: Object, spec: RunSpec, frozen: Frozen, wanted: ServiceWanted, server: ServerSettings | None = None
) -> Object:
    """The Deployment of the service; its pods change with the weights, or are moved to them in place."""
    name, label = wanted.name, weights_label_of(wanted)
    selector = _selector(owner, name)
    settings = server or (frozen.pods.engine if name == ENGINE else frozen.pods.scoring)
    labels = {**child_labels(owner, name), WEIGHTS: label}
    in_place = server is not None and server.in_place
    return _marked(
        {
            "apiVersion": DEPLOYMENT.api_version,
            "kind": DEPLOYMENT.kind,
            "metadata": {
                **_metadata(owner, name, labels),
                "annotations": {WEIGHTS_NOTE: json.dumps(_digests(wanted), sort_keys=True)},
            },
            "spec": {
                "replicas": _replicas(spec, name),
                "revisionHistoryLimit": 0,
                "strategy": {"type": "RollingUpdate" if server and server.surge else "Recreate"},
                "selector": {"matchLabels": selector},
                "template": {
                    "metadata": pod_metadata(settings, child_labels(owner, name) if in_place else labels),
                    "spec": own_pod(spec, frozen.run_uri, settings, wanted)
                    if server is None
                    else server_pod(spec, frozen, server, wanted),
                },
            },
        }
    )


def server_of(spec: RunSpec, frozen: Frozen, name: str) -> ServerSettings | None:
    """What the engine is, where it is not Selfie's own.

    Raises `FailedPrecondition` ``EngineNotOffered`` where the release offered it when the run began,
    and does no more.
    """
    kind = spec.generation.engine
    if name != ENGINE or kind == "embedded":
        return None
    server = frozen.pods.server(kind)
    if server is None:
        message = f"the release no longer offers the engine {kind}; give it runPods.{kind} again"
        raise FailedPrecondition("EngineNotOffered", message)
    return server


def engine_moves(spec: RunSpec, frozen: Frozen) -> bool:
    """Whether the run's engine is moved to a round's weights where it stands."""
    server = frozen.pods.server(spec.generation.engine)
    return server is not None and server.in_place


def service_of(
    owner: Object, spec: RunSpec, wanted: ServiceWanted, server: ServerSettings | None = None
) -> Object:
    """The Service: it reaches pods with exactly these weights, and no others."""
    name, label = wanted.name, weights_label_of(wanted)
    labels = {**child_labels(owner, name), WEIGHTS: label}
    # Several pods are found one by one, so that a caller can spread its calls over them, and knows who
    # answered it.
    alone = name == ENGINE and server is None and _replicas(spec, name) == 1
    headless = {} if alone else {"clusterIP": "None"}
    ports = {"http": server.port} if server else {}
    if server is None or server.in_place:
        ports |= {"grpc": GRPC_PORT, "metrics": METRICS_PORT}
    return _marked(
        {
            "apiVersion": SERVICE.api_version,
            "kind": SERVICE.kind,
            "metadata": _metadata(owner, name, labels),
            "spec": {
                **headless,
                "selector": {**_selector(owner, name), WEIGHTS: label},
                "ports": [
                    {"name": port, "port": number, "targetPort": port} for port, number in ports.items()
                ],
            },
        }
    )


def weights_label_of(wanted: ServiceWanted) -> str:
    """Value of the label that tells pods with these weights from all others."""
    return weights_label(*(digest for _, digest in sorted(_digests(wanted).items())))


def _digests(wanted: ServiceWanted) -> dict[str, str]:
    return {role: digest_of(entry) for role, entry in wanted.weights.items()}


def _selector(owner: Object, name: str) -> dict[str, str]:
    return {COMPONENT: name, RUN_UID: uid_of(owner)}


def _metadata(owner: Object, name: str, labels: Mapping[str, str]) -> Object:
    return {
        "name": child_name(name, uid_of(owner)),
        "namespace": namespace_of(owner),
        "labels": dict(labels),
        "ownerReferences": [owner_reference(owner)],
    }


def _replicas(spec: RunSpec, name: str) -> int:
    return spec.replicas.engine if name == ENGINE else spec.replicas.scoring


def _marked(wanted: dict[str, Any]) -> Object:
    metadata = wanted["metadata"]
    text = json.dumps(wanted, sort_keys=True)
    mark = hashlib.sha256(text.encode()).hexdigest()[:16]
    annotations = {**metadata.get("annotations", {}), WANTED: mark}
    return {**wanted, "metadata": {**metadata, "annotations": annotations}}
