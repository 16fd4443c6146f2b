"""Where a release keeps its artifacts: a volume of the node, or a server of S3's protocol in a pod."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster import nodes
from cluster.running import Cluster
from clusters import apply, forwarded
from selfie.artifacts.store import Store, open_store
from selfie.errors import Unavailable
from thin_pods import SUPPORT, thin_pod

CLAIM = "artifacts"
MOUNTED_AT = "/var/lib/selfie/artifacts"
SERVER, PORT, BUCKET = "objects", 9000, "selfie"
REGION = "eu-central-1"
KEY, SECRET = "key-of-tests", "secret-of-tests"
SOURCES = "sources"
"""Volume with the data sets and models of runs: a model in a bucket is called by its URI in the cards of
checkpoints, and one in a folder by the folder's name, as in a run without a cluster."""
SOURCES_AT = "/var/lib/selfie/sources"


@dataclass(frozen=True)
class Place:
    """By its URI in pods, as the chart is told of it, and as it is read from here."""

    uri: str
    values: Mapping[str, Any]
    store: Store

    def uri_of(self, store: Store) -> str:
        """The URI in pods of a store below this one."""
        return self.uri + store.uri.removeprefix(self.store.uri)


def sources_volume(cluster: Cluster, namespace: str) -> Path:
    """Makes the volume that `sources_mount` mounts; returns its directory."""
    return nodes.make_volume(cluster, SOURCES, namespace)


def sources_mount() -> tuple[dict[str, Any], dict[str, Any]]:
    """``volumes`` and ``volumeMounts`` entries of pods that read sources."""
    return (
        # Not mounted read-only as a whole: then nobody would hand it over to the pods' group.
        {"name": SOURCES, "persistentVolumeClaim": {"claimName": SOURCES}},
        {"name": SOURCES, "mountPath": SOURCES_AT, "readOnly": True},
    )


def on_volume(cluster: Cluster, namespace: str) -> Place:
    """A volume whose directory is one of this machine."""
    directory = nodes.make_volume(cluster, CLAIM, namespace)
    values = {"kind": "volume", "volume": {"existingClaim": CLAIM, "mountPath": MOUNTED_AT}}
    return Place(f"file://{MOUNTED_AT}", values, open_store(directory.as_uri()))


@contextmanager
def in_objects(cluster: Cluster, namespace: str) -> Iterator[Place]:
    """An object store, which is gone with the namespace."""
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": SERVER, "namespace": namespace},
        "spec": {"selector": {"app": SERVER}, "ports": [{"port": PORT}]},
    }
    credentials = f"[default]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n"
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SERVER, "namespace": namespace},
        "stringData": {"credentials": credentials},
    }
    probe = {"readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1}}
    command = (f"{SUPPORT}/object_server.py", str(PORT), BUCKET)
    apply(cluster, service, secret, thin_pod(SERVER, namespace, command, container=probe))
    where = (f"pod/{SERVER}", f"-n={namespace}")
    try:
        cluster.kubectl("wait", "--for=condition=Ready", *where, "--timeout=100s")
    except Unavailable as error:
        raise Unavailable(f"{error}\n{cluster.kubectl('logs', *where)}") from error
    values = {
        "kind": "uri",
        "uri": f"s3://{BUCKET}",
        "secretName": SERVER,
        "env": [
            {"name": "AWS_ENDPOINT_URL_S3", "value": f"http://{SERVER}.{namespace}.svc.cluster.local:{PORT}"},
            {"name": "AWS_DEFAULT_REGION", "value": REGION},
        ],
    }
    with forwarded(cluster, namespace, f"pod/{SERVER}", PORT) as address:
        options = {
            "endpoint_url": f"http://{address}",
            "key": KEY,
            "secret": SECRET,
            "client_kwargs": {"region_name": REGION},
        }
        yield Place(f"s3://{BUCKET}", values, open_store(f"s3://{BUCKET}", options=options))
