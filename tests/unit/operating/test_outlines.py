"""What is kept of runs and their children: small, and all that is asked for."""

import copy
import json
import zlib
from typing import Any

import pytest

from selfie.kube.api import Change, Listing
from selfie.kube.objects import POD, SELFIE_RUN, Kind, Object
from selfie_operator.caches import CHILD_KINDS, Cache, Caches
from selfie_operator.keys import Key
from selfie_operator.outlines import Outline, child_of, outline_of
from selfie_operator.phase_metrics import phase_of
from selfie_operator.reconciling.queueing import runs_before
from selfie_operator.reconciling.sightings import troubles

RUN: dict[str, Any] = {
    "apiVersion": "selfie.dev/v1alpha1",
    "kind": "SelfieRun",
    "metadata": {
        "namespace": "team",
        "name": "r",
        "uid": "u1",
        "resourceVersion": "7",
        "generation": 2,
        "creationTimestamp": "2026-03-01T12:00:00Z",
        "annotations": {"note": "x" * 1000},
        "managedFields": [{"manager": "kubectl"}],
    },
    "spec": {"model": {"uri": "hf://toy/model"}, "suspend": True},
    "status": {
        "attempt": 1,
        "round": 3,
        "stage": "train",
        "rounds": [{"round": number} for number in range(3)],
        "conditions": [
            {
                "type": "Suspended",
                "status": "True",
                "reason": "Queued",
                "message": "its turn",
                "lastTransitionTime": "t",
            }
        ],
    },
}
KEY = Key("team", "r")


def without_managers(found: dict[str, Any]) -> dict[str, Any]:
    known = copy.deepcopy(found)
    del known["metadata"]["managedFields"]
    return known


def test_a_run_is_whole_when_it_is_asked_for_and_an_outline_among_others() -> None:
    cache = Cache(SELFIE_RUN, kept=outline_of)
    cache.replace(Listing([copy.deepcopy(RUN)], "9"))
    assert cache.get(KEY) == without_managers(RUN)
    (kept,) = cache
    assert isinstance(kept, Outline)
    assert "rounds" not in kept["status"]
    assert "message" not in kept["status"]["conditions"][0]


def test_whoever_changes_what_he_was_given_changes_nothing_that_is_kept() -> None:
    cache = Cache(SELFIE_RUN, kept=outline_of)
    cache.apply(Change("ADDED", copy.deepcopy(RUN)))
    given = cache.get(KEY)
    assert given is not None
    given["status"]["round"] = 99
    assert cache.get(KEY) == without_managers(RUN)


def test_lists_keep_outlines_as_they_come() -> None:
    kept = outline_of(copy.deepcopy(RUN))
    assert outline_of(kept) is kept
    cache = Cache(SELFIE_RUN, kept=outline_of)
    (update,) = cache.replace(Listing([kept], "9"))
    assert update.object is kept
    assert cache.replace(Listing([outline_of(copy.deepcopy(RUN))], "10")) == []
    newer = copy.deepcopy(RUN)
    newer["metadata"]["resourceVersion"] = "8"
    (update,) = cache.replace(Listing([outline_of(newer)], "11"))
    assert update.before is kept


def test_an_outline_says_all_that_is_asked_of_runs_at_large() -> None:
    other = copy.deepcopy(RUN)
    other["metadata"] |= {"name": "s", "uid": "u2", "creationTimestamp": "2026-03-01T13:00:00Z"}
    del other["spec"]["suspend"]
    for runs in ([RUN], [outline_of(copy.deepcopy(RUN))]):
        assert runs_before(other, runs, 1) == runs_before(other, [RUN], 1)
        assert [phase_of(found) for found in runs] == ["queued"]


def test_only_runs_are_kept_as_outlines() -> None:
    caches = Caches()
    kept = {cache.kind.plural: type(cache.kept(copy.deepcopy(RUN))) for cache in caches}
    assert {name for name, kind in kept.items() if kind is Outline} == {"selfieruns"}


def test_an_outline_is_a_fraction_of_its_run() -> None:
    whole = {
        **RUN,
        "status": {**RUN["status"], "rounds": [{f"figure{n}": n / 7 for n in range(30)} for _ in range(9)]},
    }
    text = json.dumps(whole).encode()
    assert len(zlib.compress(text, 1)) < len(text) / 2
    assert len(json.dumps(outline_of(whole))) < len(text) / 8


POD_OBJECT: Object = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "p",
        "namespace": "team",
        "uid": "u",
        "resourceVersion": "7",
        "labels": {"selfie.dev/run-uid": "r"},
        "ownerReferences": [{"uid": "d", "controller": True}],
        "managedFields": [{"manager": "kubelet"}],
    },
    "spec": {"containers": [{"name": "main", "env": [{"name": "A", "value": "b"}] * 50}]},
    "status": {
        "phase": "Pending",
        "hostIP": "10.0.0.1",
        "conditions": [{"type": "Ready", "status": "False"}],
        "containerStatuses": [{"name": "main", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}],
    },
}


@pytest.mark.parametrize("kind", CHILD_KINDS, ids=str)
def test_of_a_child_there_is_kept_whose_it_is_and_keeping_it_again_changes_nothing(kind: Kind) -> None:
    kept = child_of(kind)(copy.deepcopy(POD_OBJECT))
    assert child_of(kind)(kept) == kept
    metadata = {name: value for name, value in POD_OBJECT["metadata"].items() if name != "managedFields"}
    assert kept["metadata"] == metadata


def test_of_a_pod_there_is_kept_how_it_stands_and_not_what_it_is_made_of() -> None:
    kept = child_of(POD)(copy.deepcopy(POD_OBJECT))
    assert list(troubles(None, [kept])) == list(troubles(None, [POD_OBJECT]))
    assert kept["spec"] == {}
    assert len(json.dumps(kept)) < len(json.dumps(POD_OBJECT)) / 3
