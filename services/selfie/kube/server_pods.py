"""Pods of engines that are not Selfie's own: another image, which is given weights and asked over HTTP."""

from collections.abc import Sequence
from typing import Final

from selfie.kube.labels import POLICY
from selfie.kube.objects import Object
from selfie.kube.pod_settings import ContainerSettings, ServerSettings
from selfie.kube.pods import (
    RESTRICTED_CONTAINER,
    WRITABLE,
    Container,
    Overrides,
    assembled,
    container_object,
    resources_of,
    without_empty,
    writable_mount,
    writable_volume,
)

PLACE = "{weights}"
"""In an argument: the directory of the policy's weights."""

_SHARED_MEMORY = "/dev/shm"  # noqa: S108
_PROBE_EVERY_S = 10

NOTE: Final = "/etc/selfie/wanted/policy"
"""Where a container that mounts `NOTE_MOUNT` reads the pod's note on its weights."""

_NOTE_VOLUME: Final[Object] = {
    "name": "wanted",
    "downwardAPI": {
        "items": [
            {"path": "policy", "fieldRef": {"fieldPath": f"metadata.annotations['{POLICY}']"}},
        ]
    },
}
NOTE_MOUNT: Final[Object] = {"name": "wanted", "mountPath": "/etc/selfie/wanted", "readOnly": True}
# What the kubelet would mount into every container of the pod.
_TOKEN_VOLUME: Final[Object] = {
    "name": "api-token",
    "projected": {
        "sources": [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        ]
    },
}
_TOKEN_MOUNT: Final[Object] = {
    "name": "api-token",
    "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
    "readOnly": True,
}
_FOLLOWER_RESOURCES: Final = {
    "requests": {"cpu": "100m", "memory": "256Mi"},
    "limits": {"memory": "1Gi"},
}


def server_pod_spec(
    settings: ServerSettings,
    weights: str,
    *,
    overrides: Overrides,
    fetches: tuple[ContainerSettings, Container],
    volume: Object,
    follows: Container | None = None,
) -> Object:
    """A pod whose server reads ``weights``, a directory in ``volume`` that another container fills first.

    ``fetches`` is that container, of Selfie's image and with access to the store; the server has none.
    ``follows`` stays beside the server, and brings it to the weights that the pod's note asks for.
    """
    fetcher, pulls = fetches
    mount = {"name": volume["name"], "mountPath": weights.rpartition("/")[0]}
    volumes = [volume, *settings.volumes, *fetcher.volumes, *map(writable_volume, settings.writable)]
    containers = [_server(settings, weights, [mount | {"readOnly": True}], overrides)]
    if follows is not None:
        volumes += [_NOTE_VOLUME, _TOKEN_VOLUME]
        containers.append(_follower(fetcher, follows))
    if settings.shared_memory:
        volumes.append(writable_volume(_SHARED_MEMORY, medium="Memory", sizeLimit=settings.shared_memory))
    pod = assembled(
        settings,
        containers,
        placement=overrides.placement,
        before=[container_object(fetcher, pulls, Overrides())],
        volumes=_once(volumes),
    )
    own = settings.pod_security_context
    return {**pod, "securityContext": own} if own else pod


def _follower(fetcher: ContainerSettings, follows: Container) -> Object:
    """It asks who calls it, and so has a token to read the API server's keys with; the server has none."""
    changes = {
        "resources": _FOLLOWER_RESOURCES,
        "volume_mounts": (*fetcher.volume_mounts, _TOKEN_MOUNT),
    }
    return container_object(fetcher.model_copy(update=changes), follows, Overrides())


def _server(settings: ServerSettings, weights: str, mounts: Sequence[Object], overrides: Overrides) -> Object:
    own = (WRITABLE, *settings.writable, *([_SHARED_MEMORY] if settings.shared_memory else ()))
    return without_empty(
        {
            "name": "engine",
            "image": settings.image,
            "imagePullPolicy": settings.image_pull_policy,
            "command": list(settings.command),
            "args": [argument.replace(PLACE, weights) for argument in settings.arguments],
            "env": list(settings.env),
            "resources": resources_of(settings, overrides),
            "volumeMounts": [*map(writable_mount, own), *settings.volume_mounts, *mounts],
            "securityContext": settings.security_context or RESTRICTED_CONTAINER,
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "ports": [{"name": "http", "containerPort": settings.port}],
            **_probes(settings),
        }
    )


def _probes(settings: ServerSettings) -> Object:
    asks = {"httpGet": {"path": settings.health_path, "port": "http"}}
    return {
        "startupProbe": {
            **asks,
            "periodSeconds": _PROBE_EVERY_S,
            "timeoutSeconds": 5,
            "failureThreshold": -(-settings.start_seconds // _PROBE_EVERY_S),
        },
        "readinessProbe": {**asks, "periodSeconds": 5, "timeoutSeconds": 5},
        # While it computes, a server may take long to say that it is well: a hasty probe kills a busy one.
        "livenessProbe": {**asks, "periodSeconds": 30, "timeoutSeconds": 10, "failureThreshold": 4},
    }


def _once(volumes: Sequence[Object]) -> list[Object]:
    """Server and fetcher may both bring the same volume."""
    return list({volume["name"]: volume for volume in volumes}.values())
