"""What a step without any computing publishes: files that follow from what its inputs hold alone."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from selfie.artifacts.manifests import FileEntry, Manifest, read_published
from selfie.artifacts.published import PublishedSteps
from selfie.artifacts.store import Store
from selfie.runs.evaluations import evaluations_of
from selfie.runs.lineage import Input, pin, sources_of
from selfie.runs.spec import SelfieRun
from selfie.runs.steps import Step, step_at

START = datetime(2026, 3, 1, 12, tzinfo=UTC)

WEIGHTS_OF = {
    "prepare": ("model", "reference"),
    "seed": ("checkpoint",),
    "train": ("checkpoint",),
    "publish": ("checkpoint",),
}


def manifest_of(store: Store, run: SelfieRun, path: str, attempt: int, uid: str) -> Manifest:
    """What the step publishes: its files follow from its inputs' content."""
    step = step_at(path)
    assert step is not None
    inputs = inputs_of(store, run, step)
    made = content(path, {role: content_of(store, entry.source.step) for role, entry in inputs.items()})
    groups = (*WEIGHTS_OF.get(step.name, ()), *_groups(run, step))
    return Manifest(
        run_uid=uid,
        round=step.round,
        step=path,
        attempt=attempt,
        writer="simulated",
        files=tuple(_file(path, group, made) for group in groups),
        inputs={role: entry.manifest_sha256 for role, entry in sorted(inputs.items())},
        parameters={
            role: entry.weights_digest for role, entry in sorted(inputs.items()) if entry.weights_digest
        },
        started_at=START,
        finished_at=START + timedelta(seconds=2),
    )


def inputs_of(store: Store, run: SelfieRun, step: Step) -> dict[str, Input]:
    """The step's inputs by role, pinned."""
    manifests = PublishedSteps(store).look(run.spec)
    sources = sources_of(run.spec, step, evaluations_of(run.spec, manifests))
    pinned = pin(sources, manifests)
    assert pinned.keys() == sources.keys(), f"{step.path} begins without its inputs"
    return pinned


def content_of(store: Store, step: str) -> str:
    """A word for all that the step's files hold."""
    found = read_published(store, step)
    assert found is not None
    return content(step, {entry.group: entry.sha256 for entry in found[0].files})


def content(name: str, parts: Mapping[str, str]) -> str:
    return hashlib.sha256(repr((name, sorted(parts.items()))).encode()).hexdigest()


def _file(step: str, group: str, made: str) -> FileEntry:
    digest = hashlib.sha256(f"{made}{group}".encode()).hexdigest()
    return FileEntry(group=group, name="data", path=f"{step}/a1/{group}", sha256=digest, bytes=1, rows=1)


def _groups(run: SelfieRun, step: Step) -> list[str]:
    if step.name != "prepare":
        return ["samples", "responses", "pairs"]
    return ["seed", *(f"prompts-round-{number:02d}" for number in range(1, len(run.spec.rounds) + 1))]
