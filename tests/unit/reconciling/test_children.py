"""What a run's own services are made of."""

import json

import pytest

from release_doubles import PODS
from selfie.kube.frozen import Frozen
from selfie.kube.objects import DEPLOYMENT, SERVICE, controller_uid_of, labels_of
from selfie.runs.lineage import Input, Source
from selfie.runs.load import run_from_object
from selfie.runs.names import engine_name, scoring_name
from selfie.runs.steps import ENGINE, GENERATION, SCORING
from selfie.runs.wanted import ServiceWanted
from selfie_operator.reconciling.children import goals_of

URI = "s3://bucket/runs/team/toy-12345"
POLICY = Input(Source("rounds/01/publish", "checkpoint"), "m" * 64, "a" * 64)
INITIAL = Input(Source("prepare", "model"), "n" * 64, "b" * 64)
OWNER = {"metadata": {"name": "toy", "namespace": "team", "uid": "the-uid"}}


def goals(run, **weights):
    run = run_from_object(run)
    frozen = Frozen(run, URI, PODS, "file:///sources")
    wanted = {GENERATION: ServiceWanted(GENERATION)}
    wanted |= {name: ServiceWanted(name, entry) for name, entry in weights.items()}
    return goals_of(OWNER, run.spec, frozen, wanted)


def engine(run, policy=POLICY):
    return goals(run, engine={"policy": policy})[ENGINE]


def scoring(run, policy=POLICY, reference=INITIAL):
    return goals(run, scoring={"policy": policy, "reference": reference})[SCORING]


def pod_of(objects):
    return objects[DEPLOYMENT]["spec"]["template"]["spec"]


def arguments_of(objects):
    [container] = pod_of(objects)["containers"]
    return container["args"]


def after(flag, arguments):
    return arguments[arguments.index(flag) + 1]


def test_only_the_runs_own_services_are_made(run_object):
    assert goals(run_object()) == {}


def test_everything_belongs_to_the_run_and_says_so(run_object):
    for objects in (engine(run_object()), scoring(run_object())):
        for made in (*objects.values(), objects[DEPLOYMENT]["spec"]["template"]):
            assert labels_of(made)["selfie.dev/run"] == "toy"
            assert labels_of(made)["selfie.dev/run-uid"] == "the-uid"
        for made in objects.values():
            assert controller_uid_of(made) == "the-uid"
            assert made["metadata"]["namespace"] == "team"


def test_names_follow_from_the_uid(run_object):
    assert {made["metadata"]["name"] for made in engine(run_object()).values()} == {engine_name("the-uid")}
    assert {made["metadata"]["name"] for made in scoring(run_object()).values()} == {scoring_name("the-uid")}


def test_pods_of_two_weights_never_stand_side_by_side(run_object):
    assert engine(run_object())[DEPLOYMENT]["spec"]["strategy"] == {"type": "Recreate"}


@pytest.mark.parametrize("make", [engine, scoring])
def test_the_service_reaches_pods_of_these_weights_alone(run_object, make):
    before, later = make(run_object()), make(run_object(), policy=INITIAL)
    for objects in (before, later):
        selector = objects[SERVICE]["spec"]["selector"]
        assert selector.items() <= labels_of(objects[DEPLOYMENT]["spec"]["template"]).items()
    assert before[SERVICE]["spec"]["selector"] != later[SERVICE]["spec"]["selector"]


def test_a_deployment_finds_its_pods_by_what_never_changes(run_object):
    before, later = engine(run_object()), engine(run_object(), policy=INITIAL)
    assert before[DEPLOYMENT]["spec"]["selector"] == later[DEPLOYMENT]["spec"]["selector"]
    assert "selfie.dev/weights" not in before[DEPLOYMENT]["spec"]["selector"]["matchLabels"]


def test_the_engine_fetches_its_weights_and_is_told_their_digest(run_object):
    objects = engine(run_object())
    [pull] = pod_of(objects)["initContainers"]
    assert pull["command"] == ["python", "-m", "selfie.cli"]
    assert pull["args"] == [
        *("artifacts", "pull", URI, "/weights/policy"),
        *("--step", "rounds/01/publish", "--group", "checkpoint"),
    ]
    arguments = arguments_of(objects)
    assert after("--weights", arguments) == "/weights/policy"
    assert after("--weights-digest", arguments) == "a" * 64
    assert after("--port", arguments) == "50051"
    assert json.loads(objects[DEPLOYMENT]["metadata"]["annotations"]["selfie.dev/weights"]) == {
        "policy": "a" * 64
    }


def test_scoring_workers_fetch_both_weights_and_may_use_this_run_alone(run_object):
    objects = scoring(run_object())
    pulls = pod_of(objects)["initContainers"]
    assert [pull["args"][3] for pull in pulls] == ["/weights/policy", "/weights/reference"]
    arguments = arguments_of(objects)
    assert json.loads(after("--artifact-roots", arguments)) == [URI]
    assert after("--policy-digest", arguments) == "a" * 64
    assert after("--reference-digest", arguments) == "b" * 64


def test_weights_in_two_roles_are_fetched_once(run_object):
    objects = scoring(run_object(), policy=INITIAL)
    assert len(pod_of(objects)["initContainers"]) == 1
    arguments = arguments_of(objects)
    assert after("--policy", arguments) == after("--reference", arguments) == "/weights/policy"


def test_every_container_sees_the_weights(run_object):
    pod = pod_of(scoring(run_object()))
    assert {"name": "weights", "emptyDir": {}} in pod["volumes"]
    for container in (*pod["initContainers"], *pod["containers"]):
        assert {"name": "weights", "mountPath": "/weights"} in container["volumeMounts"]


def test_replicas_are_found_one_by_one_and_a_single_engine_by_its_address(run_object):
    several = run_object(replicas={"engine": 2, "scoring": 3})
    assert "clusterIP" not in engine(run_object())[SERVICE]["spec"]
    assert engine(several)[SERVICE]["spec"]["clusterIP"] == "None"
    assert scoring(run_object())[SERVICE]["spec"]["clusterIP"] == "None"
    assert engine(several)[DEPLOYMENT]["spec"]["replicas"] == 2
    assert scoring(several)[DEPLOYMENT]["spec"]["replicas"] == 3


def test_the_allowed_overrides_are_taken_and_only_those_of_the_component(run_object):
    run = run_object(
        resources={"engine": {"cpu": "7"}, "scoring": {"memory": "9Gi"}},
        placement={"nodeSelector": {"pool": "gpu"}},
    )
    [container] = pod_of(engine(run))["containers"]
    assert container["resources"]["limits"] == {"cpu": "7"}
    [container] = pod_of(scoring(run))["containers"]
    assert container["resources"]["limits"] == {"memory": "9Gi"}
    assert pod_of(engine(run))["nodeSelector"] == {"pool": "gpu"}


def test_where_there_are_gpus_scoring_workers_take_one_and_the_embedded_engine_none(run_object):
    run = run_object(gpusPerNode=4)
    [container] = pod_of(scoring(run))["containers"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "1"}
    assert after("--device", container["args"]) == "cuda:0"
    [container] = pod_of(engine(run))["containers"]
    assert "resources" not in container or "nvidia.com/gpu" not in container["resources"].get("limits", {})
    assert "--device" not in arguments_of(scoring(run_object()))


def test_the_same_wish_has_the_same_mark_and_any_other_has_another(run_object):
    def mark(objects):
        return objects[DEPLOYMENT]["metadata"]["annotations"]["selfie.dev/wanted"]

    assert mark(engine(run_object())) == mark(engine(run_object()))
    assert mark(engine(run_object())) != mark(engine(run_object(), policy=INITIAL))
    assert mark(engine(run_object())) != mark(engine(run_object(resources={"engine": {"cpu": "2"}})))
