"""What is asked of the API server: verb, kind and object, and the path that says so."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from selfie.kube.objects import Kind

METHODS = {
    "get": "GET",
    "list": "GET",
    "watch": "GET",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
}
"""HTTP methods of the verbs, which are those of RBAC rules."""


@dataclass(frozen=True)
class Asked:
    """One request in the words of RBAC: ``update``, ``jobs/status``, ``team-a``, ``quickstart``."""

    verb: str
    kind: Kind
    namespace: str | None = None
    name: str | None = None
    subresource: str | None = None

    @property
    def method(self) -> str:
        """HTTP method."""
        return METHODS[self.verb]

    @property
    def resource(self) -> str:
        """Plural, with the subresource as RBAC writes it."""
        return f"{self.kind.plural}/{self.subresource}" if self.subresource else self.kind.plural

    @property
    def path(self) -> str:
        """Path of the URL, without a query."""
        version = self.kind.api_version
        parts = ["apis" if "/" in version else "api", version]
        if self.kind.namespaced and self.namespace:
            parts += ["namespaces", quote(self.namespace, safe="")]
        parts.append(self.kind.plural)
        if self.name is not None:
            parts.append(quote(self.name, safe=""))
        if self.subresource is not None:
            parts.append(self.subresource)
        return "/" + "/".join(parts)

    def __str__(self) -> str:
        place = "/".join(part for part in (self.namespace, self.name) if part)
        return f"{self.verb} {self.resource}" + (f" {place}" if place else "")


def selector(labels: Mapping[str, str] | None) -> str | None:
    """The labels as a selector of objects that have all of them; None selects everything."""
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items())) if labels else None
