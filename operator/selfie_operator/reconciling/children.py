"""What a run's own services are made of: a Deployment and a Service each, as they are wanted.

Pure: from the run, what was frozen when it started, and the weights that are wanted.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

from selfie.dispatch.services import GRPC_SERVICES
from selfie.errors import FailedPrecondition
from selfie.kube.frozen import Frozen
from selfie.kube.labels import COMPONENT, RUN_UID, WEIGHTS, child_labels, owner_reference
from selfie.kube.objects import DEPLOYMENT, SERVICE, Kind, Object, namespace_of, uid_of
from selfie.kube.pod_settings import ContainerSettings, ServerSettings
from selfie.kube.pods import GRPC_PORT, METRICS_PORT, Container, Overrides, pod_metadata, pod_spec
from selfie.kube.server_pods import server_pod_spec
from selfie.runs.lineage import Input
from selfie.runs.names import engine_name, scoring_name, weights_label
from selfie.runs.operation_fields import ComponentResources
from selfie.runs.spec import RunSpec
from selfie.runs.steps import ENGINE, SCORING
from selfie.runs.wanted import ServiceWanted

WANTED: Final = "selfie.dev/wanted"
"""Annotation: digest of the object as it was wanted; what a server adds to it is no change."""
WEIGHTS_NOTE: Final = "selfie.dev/weights"
"""Annotation of a Deployment: digests of the weights by their roles, as JSON."""
OWN: Final = (ENGINE, SCORING)
"""Services that a run has of its own; all others are shared."""

Goals: TypeAlias = Mapping[str, Mapping[Kind, Object]]
"""What shall be there, by service and kind; what is not named shall not."""

_VOLUME, _PLACE = "weights", "/weights"
_LISTEN: Final = ("--host", "0.0.0.0", "--port", str(GRPC_PORT), "--metrics-port", str(METRICS_PORT))  # noqa: S104


def child_name(service: str, run_uid: str) -> str:
    """Name of the Deployment and of the Service."""
    return engine_name(run_uid) if service == ENGINE else scoring_name(run_uid)


def goals_of(owner: Object, spec: RunSpec, frozen: Frozen, wanted: Mapping[str, ServiceWanted]) -> Goals:
    """The objects of the run's own services among those that are wanted."""
    return {
        name: {
            SERVICE: service_of(owner, spec, wanted[name], server_of(spec, frozen, name)),
            DEPLOYMENT: deployment_of(owner, spec, frozen, wanted[name]),
        }
        for name in OWN
        if name in wanted
    }


def deployment_of(owner: Object, spec: RunSpec, frozen: Frozen, wanted: ServiceWanted) -> Object:
    """The Deployment of the service; its pods change with the weights, never two kinds at a time."""
    name, label = wanted.name, weights_label_of(wanted)
    selector = _selector(owner, name)
    server = server_of(spec, frozen, name)
    settings = server or (frozen.pods.engine if name == ENGINE else frozen.pods.scoring)
    labels = {**child_labels(owner, name), WEIGHTS: label}
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
                    "metadata": pod_metadata(settings, labels),
                    "spec": _pod(spec, frozen.run_uri, settings, wanted)
                    if server is None
                    else _server_pod(spec, frozen, server, wanted),
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
    ports = [("grpc", GRPC_PORT), ("metrics", METRICS_PORT)] if server is None else [("http", server.port)]
    return _marked(
        {
            "apiVersion": SERVICE.api_version,
            "kind": SERVICE.kind,
            "metadata": _metadata(owner, name, labels),
            "spec": {
                **headless,
                "selector": {**_selector(owner, name), WEIGHTS: label},
                "ports": [{"name": port, "port": number, "targetPort": port} for port, number in ports],
            },
        }
    )


def weights_label_of(wanted: ServiceWanted) -> str:
    """Value of the label that tells pods with these weights from all others."""
    return weights_label(*(digest for _, digest in sorted(_digests(wanted).items())))


def _digests(wanted: ServiceWanted) -> dict[str, str]:
    return {role: entry.weights_digest or "" for role, entry in wanted.weights.items()}


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


def _pod(spec: RunSpec, run_uri: str, settings: ContainerSettings, wanted: ServiceWanted) -> Object:
    mounts = ({"name": _VOLUME, "mountPath": _PLACE},)
    serves = Container(
        name=wanted.name,
        module=f"selfie.{wanted.name}",
        arguments=(*_arguments(spec, run_uri, wanted), *_LISTEN),
        volume_mounts=mounts,
        grpc_service=GRPC_SERVICES[wanted.name],
    )
    pulls = [
        Container(f"pull-{role}", "selfie.cli", _pull(run_uri, place, entry), volume_mounts=mounts)
        for role, place, entry in _places(wanted)
    ]
    return pod_spec(
        settings,
        serves,
        overrides=_overrides(spec, wanted.name),
        before=pulls,
        volumes=({"name": _VOLUME, "emptyDir": {}},),
    )


def _server_pod(spec: RunSpec, frozen: Frozen, server: ServerSettings, wanted: ServiceWanted) -> Object:
    policy = wanted.weights["policy"]
    # Who it serves is told by the directory's name: servers repeat the path that they were started with.
    weights = f"{_PLACE}/{_digest(policy)}"
    pulls = Container(
        "pull-policy",
        "selfie.cli",
        _pull(frozen.run_uri, weights, policy),
        volume_mounts=({"name": _VOLUME, "mountPath": _PLACE},),
    )
    resources = spec.resources.engine or ComponentResources()
    return server_pod_spec(
        server,
        weights,
        overrides=Overrides(resources, spec.placement, server.accelerators),
        fetches=(frozen.pods.engine, pulls),
        volume={"name": _VOLUME, "emptyDir": {}},
    )


def _arguments(spec: RunSpec, run_uri: str, wanted: ServiceWanted) -> Iterator[str]:
    places = {_digest(entry): place for _, place, entry in _places(wanted)}
    if wanted.name == ENGINE:
        policy = wanted.weights["policy"]
        yield from ("--weights", places[_digest(policy)], "--weights-digest", _digest(policy))
        return
    yield from ("--artifact-roots", json.dumps([run_uri]))
    for role, entry in sorted(wanted.weights.items()):
        yield from (f"--{role}", places[_digest(entry)], f"--{role}-digest", _digest(entry))
    if spec.gpus_per_node:
        yield from ("--device", "cuda:0")


def _places(wanted: ServiceWanted) -> Iterator[tuple[str, str, Input]]:
    """Role, directory and input of all weights that are fetched: the same ones only once."""
    seen: set[str] = set()
    for role, entry in sorted(wanted.weights.items()):
        if _digest(entry) not in seen:
            seen.add(_digest(entry))
            yield role, f"{_PLACE}/{role}", entry


def _pull(run_uri: str, place: str, entry: Input) -> tuple[str, ...]:
    # Who loads the weights is told their digest, and takes no others.
    return ("artifacts", "pull", run_uri, place, "--step", entry.source.step, "--group", entry.source.group)


def _overrides(spec: RunSpec, name: str) -> Overrides:
    resources = spec.resources.engine if name == ENGINE else spec.resources.scoring
    # The embedded engine computes on processors.
    accelerators = 1 if name == SCORING and spec.gpus_per_node else 0
    return Overrides(resources or ComponentResources(), spec.placement, accelerators)


def _digest(entry: Input) -> str:
    return entry.weights_digest or ""


def _marked(wanted: dict[str, Any]) -> Object:
    metadata = wanted["metadata"]
    text = json.dumps(wanted, sort_keys=True)
    mark = hashlib.sha256(text.encode()).hexdigest()[:16]
    annotations = {**metadata.get("annotations", {}), WANTED: mark}
    return {**wanted, "metadata": {**metadata, "annotations": annotations}}
