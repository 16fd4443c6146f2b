"""A pod of the thin image that restricted Pod Security admits, for what a test runs beside a release."""

from collections.abc import Mapping, Sequence
from typing import Any

from cluster import thin, volumes

SUPPORT = f"{thin.MOUNTED_AT}/checkout/tests/support"
"""Where such a pod sees the programs that stand beside this file."""
USER = 10001


def thin_pod(
    name: str,
    namespace: str,
    command: Sequence[str],
    *,
    mounts: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]] = (),
    container: Mapping[str, Any] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """``python`` with these arguments; ``mounts`` are a volume and where it is seen, each."""
    scratch = ({"name": "tmp", "emptyDir": {}}, {"name": "tmp", "mountPath": "/tmp"})  # noqa: S108
    all_mounts = (volumes.environment_mount(), scratch, *mounts)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": name,
                    "image": thin.IMAGE,
                    "imagePullPolicy": "Never",
                    "command": ["python", *command],
                    "volumeMounts": [mount for _, mount in all_mounts],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    **(container or {}),
                }
            ],
            "volumes": [volume for volume, _ in all_mounts],
            **spec,
        },
    }
