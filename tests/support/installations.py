"""A release of the chart on a node of its own, a run on it, and what can be seen of the run."""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from charts import CHART, Helm
from cluster import nodes, thin, volumes
from cluster.running import Cluster
from clusters import apply, forwarded, found
from keeping import SOURCES_AT, Place, sources_mount
from selfie.artifacts.store import Store
from selfie.errors import Unavailable
from selfie.runs.names import run_path

RELEASE = "selfie"
THREADS = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
"""What a run needs to make the same bits anywhere, and no more."""
OF_RUNS = "-l=selfie.dev/run-uid"


def thin_values(place: Place, **changes: Any) -> dict[str, Any]:
    """Values for the thin image: this machine's Python is read-only in every pod."""
    # Two releases and all pods of a run have to find room on two processors.
    small = {"resources": {"requests": {"cpu": "50m"}}}
    repository, _, tag = thin.IMAGE.removeprefix("localhost/").partition(":")
    entries = (volumes.environment_mount(), sources_mount())
    return {
        "images": {
            "registry": "localhost",
            "tag": tag,
            "pullPolicy": "Never",
            **{name: {"repository": repository} for name in ("operator", "service", "gpu")},
        },
        "artifacts": dict(place.values),
        "scorer": small,
        "runPods": dict.fromkeys(("engine", "scoring", "trainer"), small),
        "operator": {"sourcesRoot": f"file://{SOURCES_AT}"},
        "allPods": {
            "extraEnv": [{"name": name, "value": value} for name, value in THREADS.items()],
            "extraVolumes": [volume for volume, _ in entries],
            "extraVolumeMounts": [mount for _, mount in entries],
        },
        **changes,
    }


@dataclass
class Installation:
    """One release in its namespace; ``folder`` is one of this machine for what tests note of it."""

    cluster: Cluster
    helm: Helm
    namespace: str
    place: Place
    folder: Path
    values: dict[str, Any]

    def install(self, **changes: Any) -> None:
        """Installs the release, or changes its values, and waits until all of it is ready."""
        self.values |= changes
        file = self.folder / f"{self.namespace}-values.yaml"
        file.write_text(yaml.safe_dump(self.values))
        place = (f"-n={self.namespace}", f"-f={file}")
        self.helm.run("upgrade", "--install", RELEASE, str(CHART), *place)
        self.kubectl(
            "rollout", "status", "deployment", f"-l=app.kubernetes.io/instance={RELEASE}", "--timeout=300s"
        )

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        """kubectl in the release's namespace."""
        return self.cluster.kubectl(f"-n={self.namespace}", *arguments, given=given)

    def found(self, *arguments: str) -> Any:
        """``kubectl get`` in the release's namespace, as data."""
        return found(self.cluster, *arguments, f"-n={self.namespace}")

    def pods(self, selector: str) -> list[dict[str, Any]]:
        """The pods that a label selects, those that end included."""
        items: list[dict[str, Any]] = self.found("pods", selector)["items"]
        return items

    @contextmanager
    def forwarded(self, target: str, port: int) -> Iterator[str]:
        """The address here that ``kubectl port-forward`` leads to a port of ``target``."""
        with forwarded(self.cluster, self.namespace, target, port) as address:
            yield address


@dataclass
class RunOnCluster:
    """A run that was applied."""

    release: Installation
    name: str

    def object(self) -> Mapping[str, Any]:
        """It, as it stands."""
        run: Mapping[str, Any] = self.release.found("sfr", self.name)
        return run

    @property
    def store(self) -> Store:
        """Its artifacts."""
        metadata = self.object()["metadata"]
        path = run_path(metadata["namespace"], metadata["name"], metadata["uid"])
        return self.release.place.store.below(path)

    def condition(self, kind: str) -> Mapping[str, Any] | None:
        """The condition of that type."""
        conditions = self.object().get("status", {}).get("conditions", [])
        return next((entry for entry in conditions if entry["type"] == kind), None)

    @property
    def has_ended(self) -> bool:
        """Whether it is Complete or Failed."""
        found = (self.condition("Complete"), self.condition("Failed"))
        return any(entry and entry["status"] == "True" for entry in found)

    def is_at(self, *stages: str) -> bool:
        """Whether it has come to one of these stages."""
        return self.object().get("status", {}).get("stage") in stages

    def pods(self, component: str = "") -> list[dict[str, Any]]:
        """Its pods, or those of a component of it."""
        uid = self.object()["metadata"]["uid"]
        more = f",app.kubernetes.io/component={component}" if component else ""
        return self.release.pods(f"-l=selfie.dev/run-uid={uid}{more}")

    def why(self) -> str:
        """What a person would look at first."""
        parts = [
            self.release.kubectl("get", "pods,jobs", "-o=wide"),
            self.release.kubectl("describe", "sfr", self.name),
        ]
        for deployment in ("operator", "training", "generation"):
            try:
                parts.append(self.release.kubectl("logs", f"deployment/{RELEASE}-{deployment}", "--tail=30"))
            except Unavailable as error:
                parts.append(str(error))
        return "\n".join(parts)


@dataclass
class PodsSeen:
    """Every state of every pod of runs, from when it was begun until it is stopped."""

    file: Path
    watcher: subprocess.Popen[bytes]

    @classmethod
    def begin(cls, release: Installation) -> "PodsSeen":
        """Begins to watch."""
        file = release.folder / f"{release.namespace}-pods.json"
        place = (f"--kubeconfig={release.cluster.kubeconfig}", f"-n={release.namespace}")
        command = [release.cluster.plan.binaries["kubectl"], *place, "get", "pods", OF_RUNS, "-w", "-o=json"]
        with file.open("wb") as output:
            return cls(file, subprocess.Popen(command, stdout=output))

    def stop(self) -> None:
        """Ends the watch."""
        self.watcher.terminate()
        self.watcher.wait()

    def by_name(self) -> dict[str, list[dict[str, Any]]]:
        """The states of each pod, oldest first."""
        text, decoder, at = self.file.read_text(), json.JSONDecoder(), 0
        states: dict[str, list[dict[str, Any]]] = {}
        while at < len(text.rstrip()):
            with suppress(json.JSONDecodeError):
                entry, at = decoder.raw_decode(text, at)
                at += 1
                states.setdefault(entry["metadata"]["name"], []).append(entry)
                continue
            # The last one is still being written.
            break
        return states


def brings_the_kind(cluster: Cluster) -> dict[str, Any]:
    """Value of ``crds``: the kind belongs to the cluster, and the first release brings it."""
    return {"enabled": "selfieruns" not in cluster.kubectl("get", "crd", "--output=name")}


def restricted(cluster: Cluster, namespace: str) -> str:
    """A namespace that enforces restricted Pod Security, in which pods of the thin image can run."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    apply(
        cluster, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}
    )
    cluster.kubectl("wait", "--for=create", "serviceaccount/default", f"-n={namespace}", "--timeout=60s")
    nodes.make_environment(cluster, namespace)
    return namespace


def submitted(release: Installation, text: str) -> RunOnCluster:
    """``kubectl apply`` of a run, in a release that has no other; artifacts of earlier ones stay."""
    release.kubectl("delete", "sfr", "--all", "--wait")
    release.kubectl("apply", "-f", "-", given=text)
    return RunOnCluster(release, yaml.safe_load(text)["metadata"]["name"])


def start_records(store: Store) -> dict[str, int]:
    """How often each attempt of each step was started, by the attempt's path."""
    counts: dict[str, int] = {}
    for path in store.list(""):
        attempt, found_it, _ = path.partition("/starts/")
        if found_it:
            counts[attempt] = counts.get(attempt, 0) + 1
    return counts


def attempts(store: Store, step: str = "") -> set[str]:
    """Names of all attempts at the step, or at any step."""
    parts = {part for path in store.list(step) for part in path.split("/")}
    return {part for part in parts if re.fullmatch(r"a\d+", part)}
