"""Pods that Selfie makes: what the chart says about them, and what a run may override.

Every pod is made here, so that each meets the `restricted` Pod Security Standard, runs under the
account that the chart gives its component, and takes no more from a run than the allow-list:
processors, memory, nodes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from selfie.errors import InvalidInput
from selfie.kube.objects import Object
from selfie.runs.operation_fields import ComponentResources, Placement

GRPC_PORT = 50051
METRICS_PORT = 9090
USER_ID = 10001
"""User and group of every container; images need no entry for it."""

_WRITABLE = ("/tmp",)  # noqa: S108


class _Setting(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class ContainerSettings(_Setting):
    """What the chart says about the pods of one component; lists and maps are Kubernetes' own objects."""

    image: str = Field(min_length=1, description="Image, best by digest.")
    command: tuple[str, ...] = Field(
        (), description="What comes before the module's arguments; see `python`."
    )
    image_pull_policy: str = Field("IfNotPresent", description="Kubernetes' imagePullPolicy.")
    image_pull_secrets: tuple[dict[str, Any], ...] = Field((), description="References to pull secrets.")
    service_account: str = Field(min_length=1, description="Account of the pods.")
    automount_token: bool = Field(False, description="Whether pods get a token for the API server.")
    resources: dict[str, dict[str, Any]] = Field({}, description="Kubernetes' requests and limits.")
    accelerator: str = Field("nvidia.com/gpu", description="Name of the resource that is one GPU.")
    env: tuple[dict[str, Any], ...] = Field((), description="Variables, with references to secrets.")
    volumes: tuple[dict[str, Any], ...] = Field((), description="Volumes: the store, projected tokens.")
    volume_mounts: tuple[dict[str, Any], ...] = Field((), description="Where the container sees them.")
    node_selector: dict[str, str] = Field({}, description="Labels that a node must have.")
    tolerations: tuple[dict[str, Any], ...] = Field((), description="Taints that are accepted.")
    runtime_class_name: str | None = Field(None, description="Kubernetes' runtimeClassName.")
    priority_class_name: str | None = Field(None, description="Kubernetes' priorityClassName.")
    labels: dict[str, str] = Field({}, description="Further labels of the pods.")
    annotations: dict[str, str] = Field({}, description="Annotations of the pods.")
    grace_seconds: Annotated[int, Field(ge=1)] = Field(60, description="Time to end in after SIGTERM.")


class PodSettings(_Setting):
    """One file for operator and training controller: pods of each component that they make."""

    engine: ContainerSettings
    scoring: ContainerSettings
    trainer: ContainerSettings

    @classmethod
    def read(cls, path: Path) -> "PodSettings":
        """From the YAML file that the chart mounts; `InvalidInput` names what is wrong in it."""
        try:
            return cls.model_validate(yaml.safe_load(path.read_text()))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the whole"
            raise InvalidInput(f"{path}: {where}", first["msg"], "mend the chart's values") from error


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
    placement = overrides.placement
    return _without_empty(
        {
            "serviceAccountName": settings.service_account,
            "automountServiceAccountToken": settings.automount_token,
            "enableServiceLinks": False,
            # A container's first process gets no signal that it has no handler for, and imports take
            # seconds before there is one: a pod that is deleted meanwhile would use up its whole grace.
            # So the first process is the pod's own, which waits for nothing.
            "shareProcessNamespace": True,
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
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER_ID,
                "runAsGroup": USER_ID,
                "fsGroup": USER_ID,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "initContainers": [_container(settings, entry, overrides) for entry in before],
            "containers": [_container(settings, container, overrides)],
            "volumes": [
                *({"name": _volume_name(path), "emptyDir": {}} for path in _WRITABLE),
                *settings.volumes,
                *volumes,
            ],
        }
    )


def begun_with(own: ContainerSettings, fixed: ContainerSettings) -> ContainerSettings:
    """The release's ``own`` settings, with the image and the size that a run was started with.

    Those stand in a ConfigMap, which others may be able to make. So no account, volume or command is
    taken from there, and no image of another repository.
    """
    if _repository(fixed.image) != _repository(own.image):
        return own
    return own.model_copy(update={"image": fixed.image, "resources": fixed.resources})


def pod_metadata(settings: ContainerSettings, labels: Mapping[str, str]) -> Object:
    """Metadata of a pod template; Selfie's own labels win over the chart's."""
    return _without_empty(
        {"labels": {**settings.labels, **labels}, "annotations": dict(settings.annotations)}
    )


def _container(settings: ContainerSettings, container: Container, overrides: Overrides) -> Object:
    probes = _probes(container.grpc_service) if container.grpc_service else {}
    return _without_empty(
        {
            "name": container.name,
            "image": settings.image,
            "imagePullPolicy": settings.image_pull_policy,
            "command": [*(settings.command or ("python",)), "-m", container.module],
            "args": list(container.arguments),
            "env": [*settings.env, *container.env],
            "resources": _resources(settings, overrides),
            "volumeMounts": [
                *({"name": _volume_name(path), "mountPath": path} for path in _WRITABLE),
                *settings.volume_mounts,
                *container.volume_mounts,
            ],
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
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


def _resources(settings: ContainerSettings, overrides: Overrides) -> Object:
    wanted = {
        name: value
        for name, value in (("cpu", overrides.resources.cpu), ("memory", overrides.resources.memory))
        if value is not None
    }
    if overrides.accelerators:
        wanted[settings.accelerator] = str(overrides.accelerators)
    # Asked for and limited to the same, so that nobody is evicted for what another one took.
    return {kind: {**settings.resources.get(kind, {}), **wanted} for kind in ("requests", "limits")}


def _repository(image: str) -> str:
    name = image.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"


def _volume_name(path: str) -> str:
    return "writable" + path.replace("/", "-")


def _without_empty(entry: Mapping[str, Any]) -> Object:
    return {key: value for key, value in entry.items() if value not in (None, "", [], {}, ())}
