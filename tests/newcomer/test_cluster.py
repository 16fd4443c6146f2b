"""The way from a clone to a finished run on a cluster, by the documents' own commands.

The images are those that the Dockerfile makes, and the chart's values are `values-local.yaml`. In place
of kind stands this project's own node, which has a volume of the class that kind calls `standard`.
"""

import itertools
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from charts import found_helm
from cluster import nodes, volumes
from cluster.running import Cluster
from clusters import apply, started_or_skipped
from documented import ROOT, commands, of_section
from newcomer import Newcomer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(9000)]
TEAM = "team"
INSTALLING = of_section("docs/install.md", "On kind")
RUNBOOKS = sorted((ROOT / "docs/runbooks").glob("*.md"))
WATCHING = "kubectl -n team get sfr -w"
PLACES = {"REL-SERVICE": "selfie-generation", "REL": "selfie", "RUN": "quickstart", "NS": "team"}
ELSEWHERE = re.compile(r"\btop\b|certificate|hpa|^selfie ")
"""Commands of runbooks that want metrics-server, cert-manager, a scorer, or what a laptop has."""
SECONDS = {"make": 3600, "helm": 2000, "kubectl": 600}
COMPLETE = "kubectl -n team wait --for=condition=Complete sfr/quickstart --timeout=3000s"


@dataclass(frozen=True)
class Way:
    """What was seen on the way."""

    newcomer: Newcomer
    run: dict[str, Any]
    pods: list[dict[str, Any]]
    left: str


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A node of its own: nothing else is to be on it."""
    with started_or_skipped("node") as ready:
        yield ready


@pytest.fixture(scope="module")
def newcomer(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Newcomer:
    """With kubectl, helm and the cluster's kubeconfig."""
    programs = (Path(cluster.plan.binaries["kubectl"]), found_helm(cluster.kubeconfig).executable)
    found = Newcomer.with_clone(
        tmp_path_factory.mktemp("newcomer"), *programs, KUBECONFIG=str(cluster.kubeconfig)
    )
    found.stand_ins = {"kind": lambda rest: _kind(cluster, found.clone, rest)}
    return found


def _kind(cluster: Cluster, clone: Path, rest: str) -> None:
    verb, _, what = rest.partition(" ")
    if verb == "create":
        apply(cluster, *_standard_volume(cluster))
    else:
        archive = clone / what.split()[-1]
        nodes.import_image(cluster, archive)
        # An archive and what was made of it need not lie here twice.
        archive.unlink()


def _standard_volume(cluster: Cluster) -> list[dict[str, Any]]:
    directory = cluster.layout.volumes / "standard"
    directory.mkdir(parents=True)
    return [
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": "standard"},
            "provisioner": "kubernetes.io/no-provisioner",
            "volumeBindingMode": "WaitForFirstConsumer",
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": "standard"},
            "spec": {
                "capacity": {"storage": "20Gi"},
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "standard",
                "local": {"path": str(directory)},
                "nodeAffinity": volumes.on_the_node(),
            },
        },
    ]


@pytest.fixture(scope="module")
def way(newcomer: Newcomer, cluster: Cluster) -> Way:
    """The whole of it, in the documents' order."""
    for command in INSTALLING:
        if command == WATCHING:
            continue
        newcomer.types(command, seconds=SECONDS.get(command.split()[0], 300))
        if command.startswith("helm install"):
            for line in of_section("docs/install.md", "Who may do what"):
                newcomer.types(line)
    seen = _pods_until_complete(newcomer, cluster)
    run = json.loads(newcomer.types("kubectl -n team get sfr quickstart -o json"))
    _look_for_trouble(newcomer)
    _operate(newcomer)
    left = newcomer.types("kubectl -n team get all,pvc,secrets,roles,serviceaccounts -o name")
    return Way(newcomer, run, seen, left)


def _pods_until_complete(newcomer: Newcomer, cluster: Cluster) -> list[dict[str, Any]]:
    """Every pod of the run, as it was last seen."""
    file = newcomer.clone / "pods.json"
    watch = [cluster.plan.binaries["kubectl"], f"--kubeconfig={cluster.kubeconfig}", f"-n={TEAM}"]
    watch += ["get", "pods", "-l=selfie.dev/run-uid", "-w", "-o=jsonpath={@}{'\\n'}"]
    with file.open("wb") as output, subprocess.Popen(watch, stdout=output) as watcher:
        newcomer.types(f"timeout 20 {WATCHING} || test $? = 124")
        newcomer.types(COMPLETE, seconds=3100)
        watcher.terminate()
    states = [json.loads(line) for line in file.read_text().splitlines() if line.endswith("}")]
    return list({state["metadata"]["name"]: state for state in states}.values())


def _look_for_trouble(newcomer: Newcomer) -> None:
    for command in commands(ROOT / "docs/troubleshooting.md"):
        newcomer.types(command.text.replace("NAME", "quickstart"))
    for command in itertools.chain.from_iterable(commands(page) for page in RUNBOOKS):
        text = command.text
        for place, its_name in PLACES.items():
            text = re.sub(rf"\b{place}\b", its_name, text)
        if not ELSEWHERE.search(text):
            # Of a process that never ended before there is no log, and not everything is complained about.
            newcomer.types(text, may_find_nothing="--previous" in text or "| grep" in text)


def _operate(newcomer: Newcomer) -> None:
    values = yaml.safe_load((newcomer.clone / "charts/selfie/values-local.yaml").read_text())
    values["images"] = {"registry": "localhost"}
    (newcomer.clone / "my-values.yaml").write_text(yaml.safe_dump(values))
    for section in ("Upgrade and roll back", "Uninstall"):
        for command in of_section("docs/operating.md", section):
            newcomer.types(command)


def test_every_command_on_the_way_does_what_it_should(way: Way) -> None:
    done = {condition["type"]: condition["status"] for condition in way.run["status"]["conditions"]}
    assert done["Complete"] == "True"
    assert way.run["status"]["progress"] == "26/26"


def test_helm_test_took_a_small_run_through_every_step(way: Way) -> None:
    [said] = [text for command, text in way.newcomer.said.items() if command.startswith("helm -n team test")]
    assert "Phase:          Succeeded" in said


def test_who_watches_sees_the_run(way: Way) -> None:
    [said] = [text for command, text in way.newcomer.said.items() if WATCHING in command]
    assert said.startswith("NAME")
    assert "quickstart" in said


def test_every_pod_of_the_run_is_of_the_images_unprivileged_and_with_a_read_only_root(way: Way) -> None:
    assert len(way.pods) > 5
    for pod in way.pods:
        for container in pod["spec"]["containers"]:
            assert container["image"] == "localhost/selfie-service:0.1.0", pod["metadata"]["name"]
            assert container["securityContext"]["readOnlyRootFilesystem"]
            assert not container["securityContext"]["allowPrivilegeEscalation"]
        assert pod["spec"]["securityContext"]["runAsNonRoot"]


def test_nothing_is_left_but_what_is_everybodys(way: Way) -> None:
    own = [name for name in way.left.split() if name != "serviceaccount/default"]
    assert own == []
