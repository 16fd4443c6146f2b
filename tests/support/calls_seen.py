"""Who called whom on a node, by what pods are for."""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster import nodes
from cluster.running import Cluster

PROGRAM = Path(__file__).with_name("first_packets.py")
COMPONENT = "app.kubernetes.io/component"


@dataclass(frozen=True)
class Calls:
    """Connections that pods have asked for since it was begun."""

    file: Path

    def between(self, pods: Iterable[Mapping[str, Any]]) -> set[tuple[str, str, int]]:
        """Those from one of these pods to another: component, component, port."""
        named = {
            pod["status"]["podIP"]: pod["metadata"]["labels"][COMPONENT]
            for pod in pods
            if pod.get("status", {}).get("podIP") and COMPONENT in pod["metadata"].get("labels", {})
        }
        asked = [json.loads(line) for line in self.file.read_text().splitlines()]
        return {
            (named[one], named[other], port) for one, other, port in asked if one in named and other in named
        }


@contextmanager
def calls_seen(cluster: Cluster, folder: Path) -> Iterator[Calls]:
    """Looks on until the block ends."""
    file = folder / "calls.jsonl"
    with file.open("wb") as output:
        watching = subprocess.Popen(nodes.inside(cluster, [sys.executable, str(PROGRAM)]), stdout=output)
    try:
        yield Calls(file)
    finally:
        watching.terminate()
        watching.wait()
