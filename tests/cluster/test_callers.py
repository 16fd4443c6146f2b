"""Tokens that a real API server signs, verified by its own keys, read as any account may read them."""

import base64
from pathlib import Path

import pytest
import yaml

from cluster.running import Cluster
from selfie.errors import PermissionDenied, Unauthenticated
from selfie.rpc.callers import Admission
from selfie.rpc.service_accounts import ApiServerKeys, ServiceAccountTokens


@pytest.fixture
def credentials(control_plane: Cluster, namespace: str, tmp_path: Path) -> Path:
    """What the kubelet puts into a pod of the account ``default``."""
    directory = tmp_path / "credentials"
    directory.mkdir()
    (directory / "token").write_text(control_plane.kubectl("create", "token", "default", f"-n={namespace}"))
    (directory / "ca.crt").write_bytes(base64.b64decode(_server(control_plane)["certificate-authority-data"]))
    return directory


def _server(cluster: Cluster) -> dict[str, str]:
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    found = dict(config["clusters"][0]["cluster"])
    if "certificate-authority-data" not in found:
        authority = Path(found["certificate-authority"]).read_bytes()
        found["certificate-authority-data"] = base64.b64encode(authority).decode()
    return found


def _token(cluster: Cluster, namespace: str, account: str, *arguments: str) -> str:
    return cluster.kubectl("create", "token", account, f"-n={namespace}", *arguments).strip()


def _shown(token: str) -> list[tuple[str, str]]:
    return [("authorization", f"Bearer {token}")]


async def test_a_projected_token_says_whose_it_is_and_what_it_is_for(
    control_plane: Cluster, namespace: str, credentials: Path
) -> None:
    for account in ("selfie-operator", "somebody"):
        control_plane.kubectl("create", "serviceaccount", account, f"-n={namespace}")
    operator = f"system:serviceaccount:{namespace}:selfie-operator"
    keys = ApiServerKeys(_server(control_plane)["server"], credentials)
    admission = Admission((operator,), ServiceAccountTokens(keys, audience="selfie.dev"))
    ours = _token(control_plane, namespace, "selfie-operator", "--audience=selfie.dev")
    assert await admission.admitted(_shown(ours)) == operator
    foreign = _token(control_plane, namespace, "somebody", "--audience=selfie.dev")
    with pytest.raises(PermissionDenied, match=f"{namespace}:somebody is not among the callers"):
        await admission.admitted(_shown(foreign))
    for audience in ((), ("--audience=other",)):
        with pytest.raises(Unauthenticated, match="aud"):
            await admission.admitted(_shown(_token(control_plane, namespace, "selfie-operator", *audience)))
