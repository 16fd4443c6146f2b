"""Paths of the API server."""

from selfie.kube.objects import JOB, POD, SELFIE_RUN, TOKEN_REVIEW
from selfie.kube.requests import Asked, selector


def test_a_kind_of_the_core_lies_below_api():
    assert Asked("get", POD, "team", "p", "log").path == "/api/v1/namespaces/team/pods/p/log"


def test_a_kind_of_a_group_lies_below_apis():
    assert Asked("list", JOB, "team").path == "/apis/batch/v1/namespaces/team/jobs"


def test_without_a_namespace_all_of_them_are_asked():
    assert Asked("watch", SELFIE_RUN).path == "/apis/selfie.dev/v1alpha1/selfieruns"


def test_a_kind_without_namespaces_is_never_asked_in_one():
    assert Asked("create", TOKEN_REVIEW, "team").path == "/apis/authentication.k8s.io/v1/tokenreviews"


def test_a_name_cannot_leave_its_place():
    assert Asked("get", JOB, "team", "../../secrets").path.endswith("/jobs/..%2F..%2Fsecrets")


def test_a_request_is_told_in_the_words_of_rbac():
    assert str(Asked("update", SELFIE_RUN, "team", "r", "status")) == "update selfieruns/status team/r"


def test_a_selector_asks_for_all_labels():
    assert selector({"b": "2", "a": "1"}) == "a=1,b=2"
    assert selector(None) is None
