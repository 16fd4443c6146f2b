"""Volumes of a node-level cluster: a directory for artifacts, and this machine's Python read-only.

Restricted Pod Security forbids hostPath in a pod, and rightly: so pods mount claims, and the volumes
behind them are the cluster's, made by its administrator as on any other cluster.
"""

from pathlib import Path
from typing import Any, Final, TypeAlias

from cluster.layout import NODE_NAME
from cluster.namespaces import SHOWN
from cluster.thin import MOUNTED_AT

Object: TypeAlias = dict[str, Any]
ENVIRONMENT: Final = "selfie-environment"


def claimed_volume(
    name: str, namespace: str, path: Path, *, writable: bool = True, size: str = "10Gi"
) -> list[Object]:
    """A volume on the node's directory ``path``, and the claim ``name`` to which it is bound."""
    mode = "ReadWriteMany" if writable else "ReadOnlyMany"
    volume_name = f"{namespace}-{name}"
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": volume_name},
            "spec": {
                "capacity": {"storage": size},
                "accessModes": [mode],
                "storageClassName": "",
                # A local volume is handed over to a pod's fsGroup by the kubelet, a hostPath is not.
                "local" if writable else "hostPath": {"path": str(path)},
                "nodeAffinity": on_the_node(),
                "claimRef": {"namespace": namespace, "name": name},
                "persistentVolumeReclaimPolicy": "Retain",
            },
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "accessModes": [mode],
                "storageClassName": "",
                "volumeName": volume_name,
                "resources": {"requests": {"storage": size}},
            },
        },
    ]


def on_the_node() -> Object:
    """``nodeAffinity`` of a volume that is a directory of the node."""
    host = {"key": "kubernetes.io/hostname", "operator": "In", "values": [NODE_NAME]}
    return {"required": {"nodeSelectorTerms": [{"matchExpressions": [host]}]}}


def environment_volume(namespace: str) -> list[Object]:
    """What containers of the thin image mount at `thin.MOUNTED_AT`."""
    return claimed_volume(ENVIRONMENT, namespace, SHOWN, writable=False)


def environment_mount() -> tuple[Object, Object]:
    """``volumes`` and ``volumeMounts`` entries of a pod that runs the thin image."""
    claim = {"claimName": ENVIRONMENT, "readOnly": True}
    return (
        {"name": ENVIRONMENT, "persistentVolumeClaim": claim},
        {"name": ENVIRONMENT, "mountPath": MOUNTED_AT, "readOnly": True},
    )
