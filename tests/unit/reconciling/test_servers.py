"""Engines that are not Selfie's own: what their pods are made of, and what is told where there are none."""

import json
from typing import Any

import pytest

from release_doubles import PODS
from selfie.errors import FailedPrecondition
from selfie.kube.frozen import Frozen
from selfie.kube.objects import DEPLOYMENT, POD, SERVICE, Object, labels_of
from selfie.kube.pod_settings import PodSettings
from selfie.runs.lineage import Input, Source
from selfie.runs.load import run_from_object
from selfie.runs.steps import ENGINE, SCORING
from selfie.runs.wanted import ServiceWanted
from selfie_operator.reconciling.children import Goals, goals_of

URI = "s3://bucket/runs/team/toy-12345"
POLICY = Input(Source("rounds/01/publish", "checkpoint"), "m" * 64, "a" * 64)
OWNER: Object = {"metadata": {"name": "toy", "namespace": "team", "uid": "the-uid"}}
WEIGHTS = f"/weights/{'a' * 64}"
TGI = {
    "image": "tgi:3.3.7",
    "serviceAccount": "selfie-server",
    "arguments": ["--model-id", "{weights}", "--port", "8080"],
    "sharedMemory": "1Gi",
    "writable": ["/data"],
    "startSeconds": 605,
}


def offering(**tgi: Any) -> PodSettings:
    store = {"name": "store", "persistentVolumeClaim": {"claimName": "artifacts"}}
    own = PODS.model_dump(by_alias=True)
    own["engine"] |= {"volumes": [store], "volumeMounts": [{"name": "store", "mountPath": "/store"}]}
    return PodSettings.model_validate({**own, "tgi": {**TGI, **tgi}})


def goals(run: Object, pods: PodSettings) -> Goals:
    found = run_from_object(run)
    wanted = {name: ServiceWanted(name, {"policy": POLICY}) for name in (ENGINE, SCORING)}
    return goals_of(OWNER, found.spec, Frozen(found, URI, pods, "file:///sources"), wanted)


@pytest.fixture
def run(run_object: Any) -> Object:
    return dict(run_object(generation={"engine": "tgi"}))


def pod(run: Object, pods: PodSettings) -> Object:
    return dict(goals(run, pods)[ENGINE][DEPLOYMENT]["spec"]["template"]["spec"])


def test_the_server_reads_a_directory_that_is_named_by_the_digest(run: Object):
    [server] = pod(run, offering())["containers"]
    assert server["image"] == "tgi:3.3.7"
    assert server["args"] == ["--model-id", WEIGHTS, "--port", "8080"]
    assert "command" not in server
    [pull] = pod(run, offering())["initContainers"]
    assert pull["image"] == "selfie/engine:1"
    assert pull["args"][:4] == ["artifacts", "pull", URI, WEIGHTS]


def test_the_store_is_seen_by_what_fetches_and_not_by_the_server(run: Object):
    made = pod(run, offering())
    mounts = {
        container["name"]: {mount["mountPath"] for mount in container["volumeMounts"]}
        for container in (*made["initContainers"], *made["containers"])
    }
    assert mounts == {
        "pull-policy": {"/tmp", "/store", "/weights"},  # noqa: S108
        "engine": {"/tmp", "/data", "/dev/shm", "/weights"},  # noqa: S108
    }
    [weights] = [m for m in made["containers"][0]["volumeMounts"] if m["mountPath"] == "/weights"]
    assert weights["readOnly"] is True
    assert {volume["name"] for volume in made["volumes"]} == {
        *("writable-tmp", "writable-data", "writable-dev-shm", "weights", "store"),
    }


def test_it_holds_an_accelerator_and_what_fetches_for_it_none(run: Object):
    made = pod(run, offering(accelerators=2))
    assert made["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": "2"}
    assert made["initContainers"][0]["resources"] == {"requests": {}, "limits": {}}


def test_its_health_decides_when_it_is_ready_and_loading_may_take_as_long_as_is_said(run: Object):
    [server] = pod(run, offering(healthPath="/healthz"))["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert server[probe]["httpGet"] == {"path": "/healthz", "port": "http"}
    starts = server["startupProbe"]
    assert starts["periodSeconds"] * starts["failureThreshold"] == 610


def test_it_is_restricted_unless_its_image_cannot_be(run: Object):
    made = pod(run, offering())
    assert made["securityContext"]["runAsNonRoot"] is True
    assert made["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
    loose = pod(run, offering(podSecurityContext={"fsGroup": 1}, securityContext={"privileged": False}))
    assert loose["securityContext"] == {"fsGroup": 1}
    assert loose["containers"][0]["securityContext"] == {"privileged": False}
    assert loose["initContainers"][0]["securityContext"]["readOnlyRootFilesystem"] is True


def test_each_of_its_pods_is_asked_by_itself_and_only_those_with_these_weights(run: Object):
    made = goals(run, offering())[ENGINE]
    spec = made[SERVICE]["spec"]
    assert spec["clusterIP"] == "None"
    assert spec["ports"] == [{"name": "http", "port": 8080, "targetPort": "http"}]
    assert spec["selector"].items() <= labels_of(made[DEPLOYMENT]["spec"]["template"]).items()
    assert "selfie.dev/weights" in spec["selector"]


@pytest.mark.parametrize(("surge", "strategy"), [(False, "Recreate"), (True, "RollingUpdate")])
def test_the_next_rounds_pods_come_beside_the_old_ones_only_where_that_is_chosen(
    run: Object, surge: bool, strategy: str
):
    made = goals(run, offering(surge=surge))[ENGINE]
    assert made[DEPLOYMENT]["spec"]["strategy"] == {"type": strategy}


def in_place(run_object: Any, policy: Input = POLICY) -> Goals:
    """Of an engine that is moved where it stands."""
    server = {**TGI, "image": "vllm:1", "arguments": ["--model", "{weights}"], "inPlace": True}
    pods = PodSettings.model_validate({**offering().model_dump(by_alias=True), "openai": server})
    found = run_from_object(run_object(generation={"engine": "openai"}))
    wanted = {ENGINE: ServiceWanted(ENGINE, {"policy": policy})}
    return goals_of(OWNER, found.spec, Frozen(found, URI, pods, "file:///sources"), wanted)


def test_a_pod_that_is_moved_where_it_stands_is_made_alike_for_all_weights(run_object: Any):
    other = Input(Source("rounds/02/publish", "checkpoint"), "n" * 64, "b" * 64)
    templates = [
        in_place(run_object, policy)[ENGINE][DEPLOYMENT]["spec"]["template"] for policy in (POLICY, other)
    ]
    assert templates[0] == templates[1]
    assert "selfie.dev/weights" not in labels_of(templates[0])


def test_it_is_told_its_weights_by_a_note_and_reached_by_a_label(run_object: Any):
    made = in_place(run_object)[ENGINE]
    note = made[POD]["metadata"]
    assert json.loads(note["annotations"]["selfie.dev/policy"]) == {
        "step": "rounds/01/publish",
        "group": "checkpoint",
        "digest": "a" * 64,
    }
    label = made[SERVICE]["spec"]["selector"]["selfie.dev/weights"]
    assert note["labels"] == {"selfie.dev/weights": label}
    assert [port["name"] for port in made[SERVICE]["spec"]["ports"]] == ["http", "grpc", "metrics"]


def test_who_follows_sees_the_store_and_the_note_and_the_engine_beside_it_neither(run_object: Any):
    spec = in_place(run_object)[ENGINE][DEPLOYMENT]["spec"]["template"]["spec"]
    engine, follows = spec["containers"]
    mounts = {
        container["name"]: {mount["mountPath"] for mount in container["volumeMounts"]}
        for container in (*spec["initContainers"], engine, follows)
    }
    told = {"/tmp", "/store", "/weights", "/etc/selfie/wanted"}  # noqa: S108
    assert mounts == {
        "pull-policy": told,
        "engine": {"/tmp", "/data", "/dev/shm", "/weights"},  # noqa: S108
        "follow-policy": told | {"/var/run/secrets/kubernetes.io/serviceaccount"},
    }
    # Of processes that see each other one could read the other's credentials.
    assert "shareProcessNamespace" not in spec
    assert engine["args"] == ["--model", "/weights/selfie-current"]
    assert follows["readinessProbe"]["grpc"]["service"] == "selfie.v1.EngineService"
    assert follows["image"] == spec["initContainers"][0]["image"] == "selfie/engine:1"


def test_scoring_workers_are_what_they_were(run: Object, run_object: Any):
    assert goals(run, offering())[SCORING] == goals(run_object(), offering())[SCORING]


def test_a_kind_that_is_offered_no_more_is_told_with_the_remedy(run: Object):
    with pytest.raises(FailedPrecondition, match=r"runPods\.tgi") as caught:
        goals(run, PODS)
    assert caught.value.reason == "EngineNotOffered"


def test_a_run_keeps_the_image_that_it_began_with_and_not_its_arguments():
    begun, upgraded = offering(), offering(image="tgi:9", arguments=["--model-id", "{weights}"])
    kept = upgraded.begun_with(begun).tgi
    assert kept is not None
    assert (kept.image, kept.arguments) == ("tgi:3.3.7", ("--model-id", "{weights}"))
    assert upgraded.begun_with(PODS).tgi == upgraded.tgi
    assert PODS.begun_with(begun).tgi is None
