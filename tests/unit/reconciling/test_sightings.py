"""A run's own service, as its objects show it."""

import pytest

from selfie.runs import reasons
from selfie_operator.reconciling.sightings import sighting

D = "d" * 64
LABEL = D[:63]


def deployment(**metadata):
    return {
        "metadata": {
            "name": "e",
            "annotations": {"selfie.dev/weights": f'{{"policy": "{D}"}}'},
            **metadata,
        },
        "status": {},
    }


def service(weights=LABEL, **metadata):
    return {"metadata": {"name": "e", **metadata}, "spec": {"selector": {"selfie.dev/weights": weights}}}


def pod(*, ready="True", weights=LABEL, conditions=(), containers=(), init=(), **metadata):
    return {
        "metadata": {"name": "e-1", "labels": {"selfie.dev/weights": weights}, **metadata},
        "status": {
            "conditions": [{"type": "Ready", "status": ready}, *conditions],
            "containerStatuses": list(containers),
            "initContainerStatuses": list(init),
        },
    }


def waiting(reason, message="", last=None, restarts=0):
    state = {"waiting": {"reason": reason, **({"message": message} if message else {})}}
    return {
        "name": "engine",
        "state": state,
        "restartCount": restarts,
        **({"lastState": {"terminated": last}} if last else {}),
    }


def test_of_nothing_there_is_nothing_to_see():
    assert sighting(None, None, []) is None
    assert sighting(None, service(), []) is None


def test_it_is_there_until_its_last_pod_is_gone():
    for found in (sighting(None, None, [pod()]), sighting(deployment(deletionTimestamp="now"), None, [])):
        assert found is not None
        assert not found.ready
        assert not found.digests


def test_it_is_ready_once_a_ready_pod_of_these_weights_stands_behind_the_service():
    found = sighting(deployment(), service(), [pod()])
    assert found is not None
    assert found.ready
    assert found.digests == {"policy": D}


@pytest.mark.parametrize(
    ("service", "pods"),
    [
        (service(), []),
        (service(), [pod(ready="False")]),
        (service(), [pod(weights="other")]),
        (service(), [pod(deletionTimestamp="now")]),
        (service("other"), [pod()]),
        (service(deletionTimestamp="now"), [pod()]),
        (None, [pod()]),
    ],
    ids=["no pod", "unready", "other weights", "going", "other selector", "service going", "no service"],
)
def test_it_is_not_ready_without_all_of_that(service, pods):
    found = sighting(deployment(), service, pods)
    assert found is not None
    assert not found.ready
    assert found.reason == ""
    assert found.message


@pytest.mark.parametrize("note", ["", "{", "[]", "null"])
def test_a_deployment_that_does_not_say_what_it_loads_is_not_ready(note):
    found = sighting(deployment(annotations={"selfie.dev/weights": note}), service(""), [pod(weights="")])
    assert found is not None
    assert not found.ready


UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}


@pytest.mark.parametrize(
    ("pods", "reason", "words"),
    [
        ([pod(ready="False", conditions=[UNSCHEDULABLE])], reasons.WAITING_FOR_CAPACITY, "0/3 nodes"),
        (
            [pod(ready="False", containers=[waiting("ImagePullBackOff", "no such image")])],
            reasons.IMAGE_CANNOT_BE_PULLED,
            "no such image",
        ),
        (
            [pod(ready="False", init=[waiting("ErrImagePull")])],
            reasons.IMAGE_CANNOT_BE_PULLED,
            "ErrImagePull",
        ),
        (
            [pod(ready="False", containers=[waiting("CreateContainerConfigError", 'secret "x" not found')])],
            reasons.POD_CANNOT_START,
            'secret "x" not found',
        ),
        (
            [
                pod(
                    ready="False",
                    containers=[
                        waiting(
                            "CrashLoopBackOff",
                            restarts=4,
                            last={
                                "reason": "OOMKilled",
                                "exitCode": 137,
                                "message": "x" * 5000 + "last words",
                            },
                        )
                    ],
                )
            ],
            reasons.CRASH_LOOPING,
            "ended 4 times, last with OOMKilled (exit code 137): ",
        ),
    ],
)
def test_what_keeps_it_from_getting_ready_is_told_with_the_clusters_words(pods, reason, words):
    found = sighting(deployment(), service(), pods)
    assert found is not None
    assert found.reason == reason
    assert words in found.message
    assert len(found.message) < 1000


def test_a_crash_tells_the_last_words():
    crashed = waiting("CrashLoopBackOff", last={"message": "x" * 5000 + "last words"})
    found = sighting(deployment(), service(), [pod(ready="False", containers=[crashed])])
    assert found is not None
    assert found.message.endswith("last words")


def test_pods_that_may_not_be_made_are_told_by_their_deployment():
    refused = deployment()
    refused["status"]["conditions"] = [
        {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: pods=10"}
    ]
    found = sighting(refused, service(), [])
    assert found is not None
    assert (found.reason, found.message) == (reasons.POD_REFUSED, "exceeded quota: pods=10")


def test_what_troubles_a_pod_on_its_way_out_is_nobodys_trouble():
    going = pod(ready="False", conditions=[UNSCHEDULABLE], deletionTimestamp="now")
    found = sighting(deployment(), service(), [going])
    assert found is not None
    assert found.reason == ""


def test_a_pod_that_starts_is_no_trouble():
    starting = pod(
        ready="False", containers=[waiting("ContainerCreating")], init=[waiting("PodInitializing")]
    )
    found = sighting(deployment(), service(), [starting])
    assert found is not None
    assert found.reason == ""


def test_every_reason_that_is_given_stalls_the_run():
    assert {
        reasons.WAITING_FOR_CAPACITY,
        reasons.IMAGE_CANNOT_BE_PULLED,
        reasons.CRASH_LOOPING,
        reasons.POD_CANNOT_START,
        reasons.POD_REFUSED,
    } <= reasons.STALLING
