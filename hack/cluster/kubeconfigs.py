"""Kubeconfig files: who asks which server."""

import base64
import json
from pathlib import Path

from cluster.pki import Credential


def write_kubeconfig(file: Path, *, server: str, authority: Path, credential: Credential) -> Path:
    """A file that stands alone: copied elsewhere, it goes on working. JSON is YAML too."""
    user = {
        "client-certificate-data": _encoded(credential.certificate),
        "client-key-data": _encoded(credential.key),
    }
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "selfie-test",
                "cluster": {"server": server, "certificate-authority-data": _encoded(authority)},
            }
        ],
        "users": [{"name": "user", "user": user}],
        "contexts": [{"name": "selfie-test", "context": {"cluster": "selfie-test", "user": "user"}}],
        "current-context": "selfie-test",
    }
    file.touch(mode=0o600)
    file.write_text(json.dumps(content, indent=1))
    return file


def _encoded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
