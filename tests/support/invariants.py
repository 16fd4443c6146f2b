"""What must hold whatever goes wrong, checked in one place; numbers are those of the fault cases.

I1: of a step's attempt there is at most one Job, and never two pods that train at a time.
I2: no step that is published is done again, and none is lost: digests stay.
I3: what was made with weights was made with those that were meant.
I4: place and attempt of a run never go back.
I5: the end is that of a run to which nothing happened.
"""

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fault_bench import Bench
from fault_manifests import content_of, inputs_of
from fault_stage import Stage
from selfie.artifacts.manifests import read_published
from selfie.artifacts.store import Store
from selfie.kube.objects import uid_of
from selfie.runs.load import run_from_object
from selfie.runs.names import run_key, run_mark
from selfie.runs.status import RunStatus
from selfie.runs.steps import TRAINING, Step, steps_of

_CHILDREN = {"jobs", "deployments", "services", "configmaps"}
_TIMES = ("_time", "_since", "_seconds")


@dataclass(frozen=True)
class EndState:
    """All that a run leaves that does not depend on when it ran, or on its UID."""

    status: str
    steps: dict[str, str]
    """What each step has published."""
    attempts: dict[str, int]
    """Which attempt published it."""
    children: dict[str, int]
    """How often each child was created, by kind and name."""
    begun: dict[str, int]
    """How often the work of each attempt was begun."""


def end_state(stage: Stage, name: str = "run") -> EndState:
    """Of a run that has ended."""
    found, store = stage.run(name), stage.store(name)
    assert found is not None
    published = {step.path: read_published(store, step.path) for step in _steps(found)}
    return EndState(
        status=_timeless(stage.status(name)),
        steps={path: content_of(store, path) for path, entry in published.items() if entry},
        attempts={path: entry[0].attempt for path, entry in published.items() if entry},
        children=dict(created(stage, uid_of(found))),
        begun={
            f"{step} a{attempt}": count
            for (uid, step, attempt), count in stage.bench.work.ledger.begun.items()
            if uid == uid_of(found)
        },
    )


_references: dict[Path, tuple[EndState, int]] = {}


async def reference(bench: Bench) -> tuple[EndState, int]:
    """The end of a run to which nothing happens, and how many writes it took; one for each cluster."""
    place = bench.cluster.layout.root
    if place not in _references:
        _references[place] = await _undisturbed(bench)
    return _references[place]


async def _undisturbed(bench: Bench) -> tuple[EndState, int]:
    async with bench.stage() as stage:
        await stage.apply()
        stage.operate()
        await stage.ended()
        assert broken(stage) == []
        end, found = end_state(stage), stage.run()
        assert found is not None
        # Whoever counts nothing finds nothing wrong.
        paths = [step.path for step in _steps(found)]
        jobs = [step for step in _steps(found) if step.service == TRAINING]
        told = [entry.step for entry in stage.bench.chronicle.history[uid_of(found)]]
        assert list(end.steps) == list(dict.fromkeys(filter(None, told))) == paths
        assert sum(name.startswith("jobs/") for name in end.children) == len(jobs)
        assert end.begun == {f"{path} a1": 1 for path in paths}
        return end, stage.proxy.writes


def created(stage: Stage, uid: str) -> Counter[str]:
    """How often the API server has created each child of the run, for the operator or the controller.

    A request that nobody waited for any more may have created its child all the same, under another
    code than 201. Whoever asked again was told that it exists: then it counts.
    """
    codes: dict[str, list[int]] = {}
    for child, code in _asked_for(stage, uid):
        codes.setdefault(child, []).append(code)
    return Counter(
        {child: times for child, found in codes.items() if (times := found.count(201) or int(409 in found))}
    )


def _asked_for(stage: Stage, uid: str) -> Iterator[tuple[str, int]]:
    """Each request for a child of the run with the code of its answer."""
    marks = (run_key(uid), run_mark(uid))
    for event in stage.bench.audit.of(stage.namespace):
        of_run = any(mark in event.name for mark in marks)
        if of_run and event.verb == "create" and event.resource in _CHILDREN and not event.subresource:
            name = event.name.replace(marks[0], "KEY").replace(marks[1], "MARK")
            yield f"{event.resource}/{name}", event.code


def broken(stage: Stage, name: str = "run", *, like: EndState | None = None) -> list[str]:
    """Every invariant that does not hold, in words; ``like`` is the end of a run without faults."""
    found = stage.run(name)
    assert found is not None
    uid, ledger = uid_of(found), stage.bench.work.ledger
    wrong = [entry for entry in ledger.wrong if uid in entry]
    jobs = {job: count for job, count in created(stage, uid).items() if job.startswith("jobs/")}
    wrong += [f"I1: {job} was created {count} times" for job, count in jobs.items() if count > 1]
    wrong += [
        f"I2: {step} was published {count} times"
        for (of, step), count in ledger.published.items()
        if of == uid and count > 1
    ]
    wrong += _lineage(stage.store(name), found)
    wrong += _steps_back(found, stage.bench.chronicle.history[uid])
    if like is not None:
        wrong += _differences(end_state(stage, name), like)
    if any("children" in entry for entry in wrong):
        wrong.append(f"requests for children: {list(_asked_for(stage, uid))}")
    return wrong


def _lineage(store: Store, found: Any) -> list[str]:
    """I2 and I3: every step holds what follows from the inputs that the lineage gives it now."""
    wrong, run = [], run_from_object(found)
    for step in _steps(found):
        published = read_published(store, step.path)
        if published is None:
            continue
        inputs = inputs_of(store, run, step)
        if {role: entry.manifest_sha256 for role, entry in inputs.items()} != published[0].inputs:
            wrong.append(f"I2: {step.path} names other inputs than are published")
        digests = {role: entry.weights_digest for role, entry in inputs.items() if entry.weights_digest}
        if digests != dict(published[0].parameters):
            wrong.append(f"I3: {step.path} was made with other weights than were meant")
    return wrong


def _steps_back(found: Any, history: list[RunStatus]) -> list[str]:
    order = {step.path: index for index, step in enumerate(_steps(found))}
    places = [(order[entry.step], entry.attempt) for entry in history if entry.step in order]
    return [
        f"I4: from {before} back to {after}" for before, after in itertools.pairwise(places) if after < before
    ]


def _differences(found: EndState, like: EndState) -> list[str]:
    wrong = []
    for name in ("status", "steps", "attempts", "children", "begun"):
        had, wanted = getattr(found, name), getattr(like, name)
        if had == wanted:
            continue
        if isinstance(had, dict):
            keys = sorted(key for key in {*had, *wanted} if had.get(key) != wanted.get(key))
            had, wanted = ({key: side.get(key) for key in keys} for side in (had, wanted))
        wrong.append(f"I5: {name} is {had}, and without a fault {wanted}")
    return wrong


def _steps(found: Any) -> tuple[Step, ...]:
    return steps_of(run_from_object(found).spec)


def _timeless(status: RunStatus) -> str:
    data = status.model_dump(mode="json", exclude_none=True)
    data["conditions"] = [
        {name: value for name, value in entry.items() if name != "last_transition_time"}
        for entry in data["conditions"]
    ]
    return json.dumps({key: value for key, value in data.items() if not key.endswith(_TIMES)}, sort_keys=True)
