"""Hostile runs that the API server lets pass, before a real operator: none comes to have a child.

What the API server itself refuses is held against it in test_crd; together they are all rows there are.
"""

import json
from typing import Any

import pytest

from fault_bench import Bench
from fault_stage import Stage
from hostile import API, OPERATOR, Hostile, with_changes
from hostile_runs import HOSTILE
from invariants import created
from selfie.kube.objects import SELFIE_RUN, Object, name_of, uid_of
from selfie.runs.conditions import condition_of

ADMITTED = [row for row in HOSTILE if API not in row.by]

pytestmark = pytest.mark.timeout(600)


async def stalled(stage: Stage, made: Object) -> tuple[str, str]:
    """Reason and message with which the run stalls."""
    name = name_of(made)
    await stage.until(lambda: stage.status(name).conditions, seconds=120)
    entry = condition_of(stage.status(name).conditions, "Stalled")
    assert entry is not None
    assert entry.status == "True", entry
    return entry.reason, entry.message


def as_a_user(row: Hostile, number: int, stage: Stage) -> dict[str, Any]:
    metadata = {"metadata.name": f"hostile-{number}", "metadata.namespace": stage.namespace}
    return with_changes(row.run(), metadata)


async def test_what_the_api_server_admits_stalls_before_it_has_a_child(bench: Bench) -> None:
    assert {row.by for row in ADMITTED} == {frozenset({OPERATOR})}
    async with bench.stage() as stage:
        made = [
            await bench.api.create(SELFIE_RUN, as_a_user(row, number, stage))
            for number, row in enumerate(ADMITTED)
        ]
        stage.operate()
        found = [(*await stalled(stage, run), row) for run, row in zip(made, ADMITTED, strict=True)]
        children = {name_of(run): await stage.children(uid_of(run)) for run in made}
        creations = {name_of(run): created(stage, uid_of(run)) for run in made}
    unnamed = [row.label for _, message, row in found if row.place.replace(".0.", "[0].") not in message]
    assert unnamed == []
    assert not any(children.values()), children
    assert not any(creations.values()), json.dumps(creations)
