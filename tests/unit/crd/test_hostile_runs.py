"""What somebody might write to get more than a run, as far as no API server is needed to refuse it.

`tests/cluster/test_crd.py` holds the same rows to what a real API server says of them.
"""

import re
from collections import Counter
from collections.abc import Sequence

import pytest

from breaches import BREACHES, LEGAL, Breach
from crd_schemas import fields_of, schema_of
from hostile import ARTIFACT_ROOTS, BASE, MODEL, OPERATOR, SOURCES_ROOT, Hostile
from hostile_runs import HOSTILE
from selfie.errors import InvalidInput
from selfie.runs.changes import changed_immutable_fields
from selfie.runs.load import run_from_object
from selfie.runs.violations import InvalidRun, Violation


def refused_by_the_model(run: dict) -> bool:
    try:
        run_from_object(run)
    except InvalidRun:
        return True
    return False


@pytest.mark.parametrize("row", HOSTILE, ids=lambda row: row.label)
def test_the_typed_model_refuses_what_it_is_said_to(row: Hostile):
    assert refused_by_the_model(row.run()) == (MODEL in row.by)


@pytest.mark.parametrize("row", [r for r in HOSTILE if MODEL not in r.by], ids=lambda row: row.label)
def test_the_operator_refuses_what_it_is_said_to(row: Hostile):
    locating = pytest.importorskip("selfie_operator.reconciling.locating", reason="needs the reconciler")
    try:
        locating.located(
            run_from_object(row.run()),
            sources_root=SOURCES_ROOT,
            artifact_roots=ARTIFACT_ROOTS,
            engines=("embedded",),
        )
    except InvalidInput:
        assert OPERATOR in row.by
    else:
        assert OPERATOR not in row.by


@pytest.mark.parametrize("row", [*BREACHES, *LEGAL], ids=lambda row: row.label)
def test_the_typed_model_tells_what_cannot_change_from_what_can(row: Breach):
    before, after = (run_from_object(run).spec for run in (row.before(), row.after()))
    assert bool(changed_immutable_fields(before, after, terminal=row.ended)) == (MODEL in row.by)


def test_what_the_rows_begin_with_is_a_run():
    assert not refused_by_the_model(dict(BASE))


def test_every_row_is_refused_by_somebody():
    assert not [row.label for row in (*HOSTILE, *BREACHES) if not row.by]


def test_the_rows_differ():
    labels = Counter(repr((row.place, row.value, row.more)) for row in HOSTILE)
    assert not [label for label, count in labels.items() if count > 1]


def test_a_cluster_has_a_rule_for_each_combination_that_the_typed_model_refuses_and_for_no_other():
    told_by_model = {
        re.sub(r"\[\d+\]", "[]", violation.field)
        for row in HOSTILE
        if row.category == "could only fail later"
        for violation in violations(row.run())
    }
    rules = {"spec": schema_of("spec"), **fields_of(schema_of("spec"), "spec")}
    told_by_cluster = {
        f"{path}{rule['fieldPath']}"
        for path, field in rules.items()
        for rule in field.get("x-kubernetes-validations", [])
        if "fieldPath" in rule and "oldSelf" not in rule["rule"]
    }
    # A rule cannot name a field of one item of a list that it looks through.
    through_rounds = {"spec.rounds[].prompts.count": "spec.rounds"}
    assert {through_rounds.get(field, field) for field in told_by_model} == told_by_cluster


def violations(run: dict) -> Sequence[Violation]:
    with pytest.raises(InvalidRun) as caught:
        run_from_object(run)
    return caught.value.violations
