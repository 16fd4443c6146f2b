"""How a pod gets onto the fake node: there is no scheduler, so the node takes what fits."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final

from cluster import pod_statuses
from cluster.node_api import Gone, NodeApi, Object
from cluster.pod_statuses import Waiting

UNSCHEDULABLE: Final = "Unschedulable"
_POLL_S: Final = 0.1


def why_not(
    pod: Object, labels: Mapping[str, str], waits: Callable[[Object], Waiting | None]
) -> Waiting | None:
    """Why a node with these labels does not take the pod; None if it does."""
    wanted = pod["spec"].get("nodeSelector", {})
    if any(labels.get(key) != value for key, value in wanted.items()):
        return Waiting(UNSCHEDULABLE, "0/1 nodes are available: 1 node(s) didn't match the node selector.")
    why = waits(pod)
    return why if why and why.reason == UNSCHEDULABLE else None


async def bind(api: NodeApi, pod: Object, node: str, why: Callable[[Object], Waiting | None]) -> None:
    """Puts the pod on the node, as soon as nothing speaks against it any more."""
    metadata = pod["metadata"]
    path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
    told: Waiting | None = None
    with suppress(Gone):
        while reason := why(pod):
            if reason != told:
                status = pod_statuses.unschedulable(reason)
                await api.merge(f"{path}/status", {"metadata": {"uid": metadata["uid"]}, "status": status})
                told = reason
            await asyncio.sleep(_POLL_S)
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        identity = {"name": metadata["name"], "uid": metadata["uid"]}
        await api.create(f"{path}/binding", {"metadata": identity, "target": target})
