"""What stands around a simulated release: pods' settings, recorded events, objects of others."""

from selfie.kube.labels import child_labels, owner_reference
from selfie.kube.objects import Object
from selfie.kube.pod_settings import PodSettings

NAMESPACE = "team"

PODS = PodSettings.model_validate(
    {
        name: {"image": f"selfie/{name}:1", "serviceAccount": f"selfie-{name}"}
        for name in ("engine", "scoring", "trainer")
    }
)


class Recorded:
    """Events as (type, reason, note)."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, str]] = []

    def record(self, run: Object, event_type: str, reason: str, note: str, *, last: bool = False) -> None:
        self.events.append((event_type, reason, note))

    @property
    def reasons(self) -> list[str]:
        return [reason for _, reason, _ in self.events]


def foreign(kind_name: str, name: str, owner: Object | None = None) -> Object:
    """An object of somebody else's; with an owner, of another run."""
    references = {"ownerReferences": [owner_reference(owner)]} if owner else {}
    labels = child_labels(owner, "engine") if owner else {}
    return {
        "kind": kind_name,
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels, **references},
        "spec": {"selector": {}, "replicas": 0, "template": {"metadata": {}, "spec": {}}},
    }
