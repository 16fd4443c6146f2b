"""From what is there to what is wanted."""

import copy

import pytest

from selfie.kube.objects import DEPLOYMENT, SERVICE
from selfie_operator.reconciling.differences import Create, Delete, Replace, Taken, change_of, mark_of

OWNER = "uid-of-run"


def deployment(weights="w1", mark="m1", **metadata):
    return {
        "metadata": {
            "name": "selfie-engine-1",
            "labels": {"selfie.dev/weights": weights},
            "annotations": {"selfie.dev/wanted": mark},
            **metadata,
        },
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"selfie.dev/weights": weights}}},
        },
    }


def service(weights="w1", mark="m1", ip="10.0.0.1", **metadata):
    found = deployment(weights, mark, **metadata)
    found["spec"] = {"clusterIP": ip, "selector": {"selfie.dev/weights": weights}, "ports": []}
    return found


def there(wanted, owner=OWNER, **metadata):
    """The object as a server keeps it."""
    found = copy.deepcopy(wanted)
    found["metadata"].update(
        uid="uid-1",
        resourceVersion="7",
        ownerReferences=[{"uid": owner, "controller": True}],
        **metadata,
    )
    found["spec"]["chosenByTheServer"] = True
    found["status"] = {"replicas": 1}
    return found


def test_what_is_missing_is_created():
    assert change_of(DEPLOYMENT, deployment(), None, OWNER) == Create(deployment())


def test_nothing_of_nothing_is_nothing():
    assert change_of(DEPLOYMENT, None, None, OWNER) is None


def test_what_is_as_wanted_is_left_alone_whatever_a_server_has_added():
    assert change_of(DEPLOYMENT, deployment(), there(deployment()), OWNER) is None
    wanted = service(ip=None)
    del wanted["spec"]["clusterIP"]
    assert change_of(SERVICE, wanted, there(service(mark="m1")), OWNER) is None


def test_what_is_not_wanted_is_deleted_by_its_uid():
    assert change_of(DEPLOYMENT, None, there(deployment()), OWNER) == Delete("selfie-engine-1", "uid-1")


@pytest.mark.parametrize("wanted", [deployment(), None])
def test_what_is_on_its_way_out_is_waited_for(wanted):
    going = there(deployment("w0"), deletionTimestamp="now")
    assert change_of(DEPLOYMENT, wanted, going, OWNER) is None


def test_what_is_somebody_elses_is_never_touched():
    assert change_of(DEPLOYMENT, deployment(), there(deployment(), owner="other"), OWNER) == Taken(
        "selfie-engine-1"
    )
    assert change_of(DEPLOYMENT, None, there(deployment(), owner="other"), OWNER) is None
    orphan = there(deployment())
    del orphan["metadata"]["ownerReferences"]
    assert change_of(DEPLOYMENT, deployment(), orphan, OWNER) == Taken("selfie-engine-1")


def test_a_replacement_keeps_what_others_and_the_server_put_there_and_is_for_that_version_alone():
    found = there(deployment("w0", "m0"))
    found["metadata"]["labels"]["theirs"] = "kept"
    found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "3"
    change = change_of(DEPLOYMENT, deployment(), found, OWNER)
    assert isinstance(change, Replace)
    metadata = change.wanted["metadata"]
    assert metadata["resourceVersion"] == "7"
    assert metadata["labels"] == {"selfie.dev/weights": "w1", "theirs": "kept"}
    assert metadata["annotations"] == {
        "selfie.dev/wanted": "m1",
        "deployment.kubernetes.io/revision": "3",
    }
    assert change.wanted["spec"]["template"] == deployment()["spec"]["template"]
    assert change.wanted["spec"]["chosenByTheServer"]


def test_a_service_keeps_its_address_when_its_pods_change():
    change = change_of(SERVICE, service("w2", "m2", ip="10.0.0.1"), there(service()), OWNER)
    assert isinstance(change, Replace)
    assert change.wanted["spec"]["clusterIP"] == "10.0.0.1"
    assert change.wanted["spec"]["selector"] == {"selfie.dev/weights": "w2"}


@pytest.mark.parametrize(
    ("kind", "wanted", "part"),
    [
        (SERVICE, service(), lambda found: found["spec"]["selector"]),
        (DEPLOYMENT, deployment(), lambda found: found["spec"]["template"]["metadata"]["labels"]),
        (DEPLOYMENT, deployment(), lambda found: found["metadata"]["labels"]),
    ],
)
def test_weights_that_were_changed_by_hand_are_set_right(kind, wanted, part):
    found = there(wanted)
    part(found)["selfie.dev/weights"] = "by hand"
    assert isinstance(change_of(kind, wanted, found, OWNER), Replace)


def test_pods_at_work_keep_their_settings_until_the_next_ones():
    found = there(deployment(mark="m0"))
    assert change_of(DEPLOYMENT, deployment(mark="m1"), found, OWNER, spare_pods=True) is None
    assert isinstance(change_of(DEPLOYMENT, deployment(mark="m1"), found, OWNER), Replace)


def test_pods_at_work_may_become_more_or_fewer():
    found, wanted = there(deployment(mark="m0")), deployment(mark="m1")
    wanted["spec"]["replicas"] = 3
    change = change_of(DEPLOYMENT, wanted, found, OWNER, spare_pods=True)
    assert isinstance(change, Replace)
    assert change.wanted["spec"] == {**found["spec"], "replicas": 3}
    assert change.wanted["metadata"] == found["metadata"]


def test_pods_with_other_weights_are_not_spared():
    found = there(deployment("w0", "m0"))
    change = change_of(DEPLOYMENT, deployment("w1", "m1"), found, OWNER, spare_pods=True)
    assert isinstance(change, Replace)
    assert change.wanted["spec"]["template"] == deployment("w1")["spec"]["template"]


def test_what_cannot_be_changed_is_made_anew():
    other = there(deployment())
    other["spec"]["selector"] = {"matchLabels": {"of": "an older release"}}
    assert change_of(DEPLOYMENT, deployment(), other, OWNER) == Delete("selfie-engine-1", "uid-1")
    headless = service(ip="None")
    assert change_of(SERVICE, headless, there(service()), OWNER) == Delete("selfie-engine-1", "uid-1")
    assert change_of(SERVICE, service(), there(headless), OWNER) == Delete("selfie-engine-1", "uid-1")


def told(weights="w1", note="n1", **metadata):
    """A pod, or what pods are to be told, by its label and its note."""
    return {
        "metadata": {
            "labels": {"selfie.dev/weights": weights},
            "annotations": {"selfie.dev/policy": note},
            **metadata,
        }
    }


@pytest.mark.parametrize("pod", [told("w0", uid="u"), told(note="n0", uid="u"), {"metadata": {"uid": "u"}}])
def test_a_pod_that_stays_is_told_what_it_does_not_know_yet(pod):
    patch = mark_of(told(), pod)
    assert patch == told(uid="u")


def test_nothing_is_told_twice_nor_to_who_is_on_the_way_out():
    assert mark_of(told(), told(uid="u")) is None
    assert mark_of(told(), told("w0", uid="u", deletionTimestamp="now")) is None


def test_other_weights_change_a_deployment_whose_pods_stay():
    def noted(weights):
        found = deployment(mark=f"m-{weights}")
        found["metadata"]["annotations"]["selfie.dev/weights"] = weights
        return found

    wanted = noted("w2")
    change = change_of(DEPLOYMENT, wanted, there(noted("w1")), OWNER, spare_pods=True)
    assert isinstance(change, Replace)
    assert change.wanted["metadata"]["annotations"]["selfie.dev/weights"] == "w2"
    assert change.wanted["spec"]["template"] == wanted["spec"]["template"]
