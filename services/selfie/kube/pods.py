"""Pods that Selfie makes: what the chart says about them, and what a run may override.

Every pod is made here, so that each meets the `restricted` Pod Security Standard, runs under the
account that the chart gives its component, and takes no more from a run than the allow-list:
processors, memory, nodes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from selfie.kube.objects import Object
from selfie.kube.pod_settings import ContainerSettings
from selfie.runs.operation_fields import ComponentResources, Placement

GRPC_PORT = 50051
METRICS_PORT = 9090
USER_ID = 10001
"""User and group of every container; images need no entry for it."""

WRITABLE: Final = "/tmp"  # noqa: S108
"""What every container may write to."""

RESTRICTED_POD: Final[Object] = {
    "runAsNonRoot": True,
    "runAsUser": USER_ID,
    "runAsGroup": USER_ID,
    "fsGroup": USER_ID,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
RESTRICTED_CONTAINER: Final[Object] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


@dataclass(frozen=True)
class Container:
    """What a container does: a module of Selfie with its arguments, beside what its settings say."""

    name: str
    module: str
    arguments: Sequence[str]
    env: Sequence[Object] = ()
    volume_mounts: Sequence[Object] = ()
    grpc_service: str | None = None
    """The service whose health tells that the container is ready; None for a program."""


@dataclass(frozen=True)
class Overrides:
    """What a run asks of the pods of one component."""

    resources: ComponentResources = field(default_factory=ComponentResources)
    placement: Placement = field(default_factory=Placement)
    accelerators: int = 0


def pod_spec(
    settings: ContainerSettings,
    container: Container,
    *,
    overrides: Overrides = Overrides(),
    before: Sequence[Container] = (),
    volumes: Sequence[Object] = (),
    restart_policy: str = "Always",
) -> Object:
    """A pod's spec. ``before``: containers that run to their end first, with the same settings."""
    return assembled(
        settings,
        [container_object(settings, container, overrides)],
        placement=overrides.placement,
        before=[container_object(settings, entry, overrides) for entry in before],
        volumes=[*settings.volumes, *volumes],
        restart_policy=restart_policy,
    )


def assembled(
    settings: ContainerSettings,
    containers: Sequence[Object],
    *,
    placement: Placement,
    before: Sequence[Object],
    volumes: Sequence[Object],
    restart_policy: str = "Always",
) -> Object:
    """A pod's spec from containers that are made already.

    The processes of its containers see each other, credentials and all, only where there is one alone.
    """
    return without_empty(
        {
            "serviceAccountName": settings.service_account,
            "automountServiceAccountToken": settings.automount_token,
            "enableServiceLinks": False,
            # A container's first process gets no signal that it has no handler for, and imports take
            # seconds before there is one: a pod that is deleted meanwhile would use up its whole grace.
            # So the first process is the pod's own, which waits for nothing.
            "shareProcessNamespace": True if len(containers) == 1 else None,
            "restartPolicy": restart_policy,
            "terminationGracePeriodSeconds": settings.grace_seconds,
            "imagePullSecrets": list(settings.image_pull_secrets),
            "runtimeClassName": settings.runtime_class_name,
            "priorityClassName": settings.priority_class_name,
            "nodeSelector": {**settings.node_selector, **placement.node_selector},
            "tolerations": [
                *settings.tolerations,
                *(entry.model_dump(by_alias=True, exclude_none=True) for entry in placement.tolerations),
            ],
            "securityContext": RESTRICTED_POD,
            "initContainers": list(before),
            "containers": list(containers),
            "volumes": [writable_volume(WRITABLE), *volumes],
        }
    )


def pod_metadata(settings: ContainerSettings, labels: Mapping[str, str]) -> Object:
    """Metadata of a pod template; Selfie's own labels win over the chart's."""
    return without_empty({"labels": {**settings.labels, **labels}, "annotations": dict(settings.annotations)})


def container_object(settings: ContainerSettings, container: Container, overrides: Overrides) -> Object:
    """A container that runs a module of Selfie."""
    probes = _probes(container.grpc_service) if container.grpc_service else {}
    return without_empty(
        {
            "name": container.name,
            "image": settings.image,
            "imagePullPolicy": settings.image_pull_policy,
            "command": [*(settings.command or ("python",)), "-m", container.module],
            "args": list(container.arguments),
            "env": [*settings.env, *container.env],
            "resources": resources_of(settings, overrides),
            "volumeMounts": [
                writable_mount(WRITABLE),
                *settings.volume_mounts,
                *container.volume_mounts,
            ],
            "securityContext": RESTRICTED_CONTAINER,
            # What a program said last is quoted where it failed.
            "terminationMessagePolicy": "FallbackToLogsOnError",
            **probes,
        }
    )


def _probes(service: str) -> Object:
    alive = {"grpc": {"port": GRPC_PORT}}
    return {
        "ports": [
            {"name": "grpc", "containerPort": GRPC_PORT},
            {"name": "metrics", "containerPort": METRICS_PORT},
        ],
        # Imports take their time on a busy node; only once it listens may silence mean death.
        "startupProbe": {**alive, "periodSeconds": 2, "failureThreshold": 150},
        "livenessProbe": {**alive, "periodSeconds": 10, "failureThreshold": 6, "timeoutSeconds": 5},
        "readinessProbe": {
            "grpc": {"port": GRPC_PORT, "service": service},
            "periodSeconds": 2,
            "timeoutSeconds": 5,
        },
    }


def resources_of(settings: ContainerSettings, overrides: Overrides) -> Object:
    """Kubernetes' requests and limits, with what the run asks for."""
    wanted = {
        name: value
        for name, value in (("cpu", overrides.resources.cpu), ("memory", overrides.resources.memory))
        if value is not None
    }
    if overrides.accelerators:
        wanted[settings.accelerator] = str(overrides.accelerators)
    # Asked for and limited to the same, so that nobody is evicted for what another one took.
    return {kind: {**settings.resources.get(kind, {}), **wanted} for kind in ("requests", "limits")}


def writable_volume(path: str, **empty_dir: str) -> Object:
    """A directory that lives as long as the pod."""
    return {"name": _volume_name(path), "emptyDir": empty_dir}


def writable_mount(path: str) -> Object:
    """Where a container sees it."""
    return {"name": _volume_name(path), "mountPath": path}


def _volume_name(path: str) -> str:
    return "writable" + path.replace("/", "-").lower()


def without_empty(entry: Mapping[str, Any]) -> Object:
    """Without fields that say nothing."""
    return {key: value for key, value in entry.items() if value not in (None, "", [], {}, ())}
