"""What of a release lets its operator and training controller work: CRD, accounts and Roles."""

import json
from contextlib import suppress
from typing import Any

import yaml

from charts import CHART, Rendered
from cluster.running import Cluster
from raw_api import RawApi
from selfie.errors import Unavailable
from selfie.kube.objects import Object

RELEASE = "r"
_ACCOUNTS = {f"{RELEASE}-{name}" for name in ("operator", "training", "engine", "scoring", "trainer")}
_CRD = ("crd/selfieruns.selfie.dev", "--timeout=60s")


def install_crd(cluster: Cluster) -> None:
    """The chart's own, ready for use."""
    cluster.kubectl("apply", "--server-side", "-f", str(CHART / "files/selfieruns.selfie.dev.yaml"))
    # Right after it was made it has no conditions, by which `kubectl wait` is put off.
    with suppress(Unavailable):
        cluster.kubectl("wait", "--for=jsonpath={.status.conditions}", *_CRD)
    cluster.kubectl("wait", "--for=condition=Established", *_CRD)


def install_accounts(raw: RawApi, rendered: Rendered, namespace: str) -> None:
    """A namespace with the release's accounts and their rights."""
    made(raw, "/api/v1/namespaces", {"metadata": {"name": namespace}})
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    for kind, path in (
        ("ServiceAccount", f"/api/v1/namespaces/{namespace}/serviceaccounts"),
        ("Role", f"{rbac}/roles"),
        ("RoleBinding", f"{rbac}/rolebindings"),
    ):
        for name, found in rendered.of(kind).items():
            if name in _ACCOUNTS:
                made(raw, path, _moved(found, namespace))


def made(raw: RawApi, path: str, wanted: Object) -> None:
    """Creates it."""
    answer = raw.ask("POST", path, wanted)
    assert answer.code == 201, answer.body


def token_of(raw: RawApi, namespace: str, component: str) -> str:
    """A token of the component's account, good for ten hours."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{RELEASE}-{component}/token"
    answer = raw.ask("POST", path, {"spec": {"expirationSeconds": 36000}})
    assert answer.code == 201, answer.body
    return str(answer.body["status"]["token"])


def server_of(cluster: Cluster) -> dict[str, Any]:
    """How the API server is reached, as a kubeconfig has it."""
    return dict(yaml.safe_load(cluster.kubeconfig.read_text())["clusters"][0]["cluster"])


def kubeconfig(server: dict[str, Any], token: str) -> dict[str, Any]:
    """The way to a server for the owner of a token."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": server}],
        "users": [{"name": "test", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }


def _moved(found: Object, namespace: str) -> Object:
    """The object in another namespace than that of the rendered release."""
    text = json.dumps(found).replace('"namespace": "team"', f'"namespace": "{namespace}"')
    return dict(json.loads(text))
