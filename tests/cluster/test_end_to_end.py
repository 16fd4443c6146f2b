"""A user's way, on real pods: install the chart, apply one run, wait for it, use what it has made.

Twice: with artifacts on a volume, and with a server of S3's protocol in a pod.

A tiny random model; all else is as it is anywhere: a namespace that enforces restricted Pod Security,
the release's own accounts, and Jobs, engine and scoring workers in pods of the run.
"""

import asyncio
import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml

from calls_seen import COMPONENT, Calls, calls_seen
from clusters import apply
from installations import RELEASE, Installation, PodsSeen, RunOnCluster, start_records, submitted
from killing import MODEL, SPEC, made_by
from policies import TEAM, Pod, reaches
from scorer_client import compared
from selfie.artifacts.manifests import read_manifest
from selfie.artifacts.run_files import read_status
from selfie.errors import Unauthenticated
from selfie.kube.pods import GRPC_PORT
from selfie.runs.lineage import published_policy
from thin_pods import SUPPORT, thin_pod
from waiting import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
COMPLETE_S = 1000
Reference: TypeAlias = Callable[[], Mapping[str, Any]]


@dataclass(frozen=True)
class Ended:
    """The run after its end, and all pods that it had on its way."""

    run: RunOnCluster
    pods: Mapping[str, list[dict[str, Any]]]

    def of(self, component: str) -> dict[str, dict[str, Any]]:
        """The last sight of each pod of a component."""
        label = "app.kubernetes.io/component"
        last = {name: states[-1] for name, states in self.pods.items()}
        return {name: pod for name, pod in last.items() if pod["metadata"]["labels"][label] == component}


@pytest.fixture(scope="module")
def calls(release_on_volume: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Calls]:
    """Who calls whom on the node."""
    with calls_seen(release_on_volume.cluster, tmp_path_factory.mktemp("calls")) as seen:
        yield seen


@pytest.fixture(scope="module")
def begun(
    release_on_volume: Installation, release_on_objects: Installation, calls: Calls, reference: Reference
) -> Iterator[Mapping[str, tuple[RunOnCluster, PodsSeen]]]:
    """A run of each release, by its namespace, both at a time: they wait more than they compute."""
    found = {}
    for release in (release_on_volume, release_on_objects):
        seen = PodsSeen.begin(release)
        found[release.namespace] = (submitted(release, SPEC.format(model=MODEL)), seen)
    yield found
    for _, seen in found.values():
        seen.stop()


@pytest.fixture(scope="module", params=["release_on_volume", "release_on_objects"])
def release(request: pytest.FixtureRequest) -> Installation:
    """The chart on the node, with either place for artifacts."""
    found: Installation = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def ended(release: Installation, begun: Mapping[str, tuple[RunOnCluster, PodsSeen]]) -> Ended:
    """The run, applied and waited for as a user does it."""
    run, seen = begun[release.namespace]
    try:
        release.kubectl("wait", "--for=condition=Complete", "sfr/tiny", f"--timeout={COMPLETE_S}s")
    except Exception as error:
        raise AssertionError(run.why()) from error
    until(lambda: not run.pods(), seconds=60)
    return Ended(run, seen.by_name())


def test_every_step_makes_what_it_makes_on_a_laptop_to_the_last_bit(ended: Ended, reference: Reference):
    found = made_by(ended.run.store)
    assert found.keys() == reference().keys()
    for step, facts in reference().items():
        assert found[step] == facts, step


def test_no_pod_of_a_run_is_left_a_minute_after_its_end(ended: Ended):
    # `ended` waited for that, for no longer than a minute.
    assert ended.run.condition("Complete")
    assert ended.run.pods() == []


def test_every_attempt_is_the_first_and_was_started_once(ended: Ended):
    starts = start_records(ended.run.store)
    assert starts
    assert {path: count for path, count in starts.items() if count != 1 or not path.endswith("/a1")} == {}


def test_each_step_of_training_has_one_pod(ended: Ended):
    steps = [pod["metadata"]["labels"]["selfie.dev/step"] for pod in ended.of("trainer").values()]
    assert sorted(steps) == sorted(set(steps))
    assert {"prepare", "rounds.00.seed", "rounds.01.train"} <= set(steps)


@pytest.mark.parametrize(("component", "token"), [("engine", True), ("scoring", True), ("trainer", False)])
def test_pods_of_a_run_have_their_own_account_and_only_servers_a_token(
    ended: Ended, component: str, token: bool
):
    specs = [pod["spec"] for pod in ended.of(component).values()]
    assert specs
    assert {spec["serviceAccountName"] for spec in specs} == {f"{RELEASE}-{component}"}
    assert {spec["automountServiceAccountToken"] for spec in specs} == {token}


def test_no_account_of_the_release_was_refused_anything(ended: Ended, release: Installation):
    mine = [entry for entry in release.cluster.audit() if entry.account.startswith(f"{release.namespace}:")]
    assert mine
    assert {entry.rule for entry in mine if entry.code == 403} == set()


def test_whoever_called_whom_may_by_the_network_policies_and_nobody_else_may(
    ended: Ended, release: Installation, calls: Calls, tmp_path: Path
):
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump(release.values))
    rendered = release.helm.rendered(values, {"networkPolicy.enabled": True})
    # A pod's address is in one of its states; the last one may have lost it.
    of_run = [state for states in ended.pods.values() for state in states]
    pods = [*of_run, *release.pods(f"-l=app.kubernetes.io/instance={RELEASE}")]
    called = calls.between(pods)
    everybody = {
        pod["metadata"]["labels"][COMPONENT]: Pod(pod["metadata"]["name"], TEAM, pod["metadata"]["labels"])
        for pod in pods
        if COMPONENT in pod["metadata"]["labels"]
    }
    may = {
        (one, other, GRPC_PORT)
        for one in everybody
        for other in everybody
        if reaches(rendered, everybody[one], everybody[other], GRPC_PORT)
    }
    # A training of one pod has nobody to talk to, and the scorer is for others.
    assert called == {call for call in may if call[1] not in ("trainer", "scorer")}


# -- The preference API, with the weights of that run.


@pytest.fixture(scope="module")
def scorer(release: Installation, ended: Ended) -> str:
    """The token of a caller from outside; the scorer serves the run's best round."""
    token = secrets.token_hex(16)
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "callers"},
        "stringData": {"app": token},
    }
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "application"}}
    for entry in (secret, account):
        release.kubectl("apply", "-f", "-", given=json.dumps(entry))
    release.install(
        scorer=release.values["scorer"]
        | {
            "weights": {"run": release.place.uri_of(ended.run.store)},
            "callers": [f"{release.namespace}/application"],
            "apiTokensSecretName": "callers",
        }
    )
    return token


def test_the_scorer_answers_a_pod_and_somebody_outside_alike(
    release: Installation, scorer: str, ended: Ended, tmp_path: Path
):
    file = tmp_path / "token"
    file.write_text(scorer)
    with release.forwarded(f"service/{RELEASE}-scorer", 50051) as address:
        outside = asyncio.run(compared(address, file))
    inside = _asked_by_a_pod(release)
    assert inside == outside
    best = read_status(ended.run.store).best
    assert best
    source = published_policy(best.round)
    manifest = read_manifest(ended.run.store, source.step)
    assert manifest
    assert outside["policy"] == manifest.weights_digest


def test_the_scorer_answers_nobody_without_a_token(release: Installation, scorer: str):
    with release.forwarded(f"service/{RELEASE}-scorer", 50051) as address, pytest.raises(Unauthenticated):
        asyncio.run(compared(address, None))


def _asked_by_a_pod(release: Installation) -> dict[str, Any]:
    token = {"serviceAccountToken": {"audience": "selfie.dev", "path": "token"}}
    pod = thin_pod(
        "application",
        release.namespace,
        (f"{SUPPORT}/scorer_client.py", f"dns:///{RELEASE}-scorer:50051", "/token/token"),
        mounts=[
            (
                {"name": "token", "projected": {"sources": [token]}},
                {"name": "token", "mountPath": "/token"},
            )
        ],
        serviceAccountName="application",
    )
    apply(release.cluster, pod)

    def is_over() -> bool:
        phase: str = release.found("pod", "application")["status"]["phase"]
        return phase in {"Succeeded", "Failed"}

    until(is_over, seconds=120)
    said = release.kubectl("logs", "application")
    answer: dict[str, Any] = json.loads(said.splitlines()[-1])
    return answer
