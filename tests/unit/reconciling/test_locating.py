"""Where a cluster's run may read and write."""

import pytest

from selfie.runs.load import run_from_object
from selfie.runs.violations import InvalidRun
from selfie_operator.reconciling.locating import is_below, located, require_added_rounds, run_uri

SOURCES = "file:///usr/share/selfie/examples"
ROOTS = ("s3://bucket/runs", "file:///artifacts")


def place(run):
    return located(
        run_from_object(run), sources_root=SOURCES, artifact_roots=ROOTS, engines=("embedded",)
    ).spec


def fields_refused(run):
    with pytest.raises(InvalidRun) as caught:
        place(run)
    return [violation.field for violation in caught.value.violations]


def test_relative_sources_lie_below_the_releases_own(run_object):
    spec = place(run_object(model={"uri": "models/a b".replace(" ", "-")}))
    assert spec.model.uri == f"{SOURCES}/models/a-b"
    assert spec.seed.dataset == f"{SOURCES}/seed.jsonl"
    assert spec.seed.heldout == f"{SOURCES}/heldout.jsonl"
    assert spec.rounds[2].prompts.dataset == f"{SOURCES}/prompts.jsonl"


@pytest.mark.parametrize(
    "uri",
    [
        "hf://org/name",
        "builtin://smollm2-135m-instruct",
        "s3://anywhere/model",
        "gs://anywhere/model",
        "file:///usr/share/selfie/examples/model",
        "file:///artifacts/team/other-12345/model",
    ],
)
def test_what_the_release_may_read_is_left_as_it_is(run_object, uri):
    assert place(run_object(model={"uri": uri})).model.uri == uri


@pytest.mark.parametrize(
    "uri",
    [
        "../secrets/model",
        "models/../../etc",
        "%2e%2e/../model",
        "./model",
        "models//model",
        "/etc/model",
        "file:///etc/model",
        "file:///artifacts/../etc/model",
        "file:///artifacts/%2e%2e/etc/model",
        "file:///artifactsx/model",
        "file://host/artifacts/model",
        "file:////artifacts/model",
        "http://169.254.169.254/latest",
        "https://example.test/model",
        "ftp://host/model",
    ],
)
def test_what_leads_elsewhere_is_refused(run_object, uri):
    assert fields_refused(run_object(model={"uri": uri})) == ["spec.model.uri"]


def test_every_source_is_looked_at_and_all_are_told_at_once(run_object):
    run = run_object(
        model={"uri": "../m"},
        referenceModel={"uri": "file:///etc/r"},
        seed={"dataset": "../s", "heldout": "../h"},
        rounds=[{"prompts": {"dataset": "ok.jsonl"}}, {"prompts": {"dataset": "../p"}}],
        evaluation={"prompts": {"dataset": "../e"}},
        resumeFrom="s3://elsewhere/run",
        artifacts={"uri": "file:///tmp", "secretRef": {"name": "mine"}},
        generation={"engine": "tgi"},
    )
    assert sorted(fields_refused(run)) == [
        "spec.artifacts.secretRef",
        "spec.artifacts.uri",
        "spec.evaluation.prompts.dataset",
        "spec.generation.engine",
        "spec.model.uri",
        "spec.referenceModel.uri",
        "spec.resumeFrom",
        "spec.rounds[1].prompts.dataset",
        "spec.seed.dataset",
        "spec.seed.heldout",
    ]


def models_with(own, references):
    return {
        field: {"uri": f"hf://org/{field.lower()}"} | ({"secretRef": {"name": secret}} if secret else {})
        for field, secret in (("model", own), ("referenceModel", references))
    }


@pytest.mark.parametrize(("own", "references"), [("hub", "hub"), ("hub", None), (None, "hub")])
def test_one_secret_opens_the_hub_to_both_models(run_object, own, references):
    assert place(run_object(**models_with(own, references))).hub_secrets == {"hub"}


def test_two_secrets_do_not(run_object):
    assert fields_refused(run_object(**models_with("hub", "other"))) == ["spec.referenceModel.secretRef.name"]


@pytest.mark.parametrize("uri", ["s3://bucket/runs", "s3://bucket/runs/mine", "file:///artifacts/mine"])
def test_artifacts_go_where_the_run_says_within_the_roots(run_object, uri):
    run = run_from_object(run_object(artifacts={"uri": uri}))
    assert located(run, sources_root=SOURCES, artifact_roots=ROOTS, engines=("embedded",)) is not None
    found = run_uri(run, namespace="team", uid="u", artifacts_root="s3://other")
    assert found.startswith(f"{uri}/team/toy-")


@pytest.mark.parametrize(
    "uri", ["s3://bucket/runsx", "s3://bucket", "s3://bucket/runs/../x", "gs://bucket/runs"]
)
def test_artifacts_never_go_elsewhere(run_object, uri):
    assert fields_refused(run_object(artifacts={"uri": uri})) == ["spec.artifacts.uri"]


def test_without_a_place_of_its_own_the_run_lies_below_the_releases_root(run_object):
    run = run_from_object(run_object())
    found = run_uri(run, namespace="team", uid="u", artifacts_root="s3://bucket/runs/")
    assert found.startswith("s3://bucket/runs/team/toy-")


def test_of_a_run_that_has_begun_only_added_rounds_are_looked_at(run_object):
    roots = {"sources_root": SOURCES, "readable": (SOURCES, *ROOTS)}
    run = run_from_object(run_object(model={"uri": "file:///was/allowed/once"}))
    require_added_rounds(run, begun_with=2, **roots)
    bad = run_from_object(run_object(rounds=[{"prompts": {"dataset": name}} for name in ("a", "../b")]))
    require_added_rounds(bad, begun_with=2, **roots)
    with pytest.raises(InvalidRun, match=r"spec\.rounds\[1\]"):
        require_added_rounds(bad, begun_with=1, **roots)
    with pytest.raises(InvalidRun, match=r"spec\.rounds\[2\]"):
        require_added_rounds(run, begun_with=2, sources_root="file:///etc", readable=(SOURCES, *ROOTS))


def test_a_root_is_below_itself_and_nothing_is_below_a_place_that_cannot_be_told():
    assert is_below("s3://bucket/runs/", ROOTS)
    assert not is_below("bucket/runs", ROOTS)
    assert not is_below("s3://bucket/runs", ("bucket/runs",))


def test_an_engine_that_the_release_offers_is_taken(run_object):
    run = run_from_object(run_object(generation={"engine": "tgi"}))
    roots = {"sources_root": SOURCES, "artifact_roots": ROOTS}
    assert located(run, **roots, engines=("embedded", "tgi")).spec.generation.engine == "tgi"
    with pytest.raises(InvalidRun, match=r"not offered by this release, which has embedded, openai"):
        located(run, **roots, engines=("embedded", "openai"))
