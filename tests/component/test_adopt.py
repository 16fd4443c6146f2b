"""The program that takes steps over from another run, on made-up runs in two stores."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from selfie.adopt.program import adopt
from selfie.artifacts.digests import digest_bytes
from selfie.artifacts.manifests import FileEntry, Manifest, publish, read_manifest, read_published, verify
from selfie.artifacts.retirements import Retirement, read_retirement, record_retirement
from selfie.artifacts.store import Store, open_store
from selfie.errors import DataCorrupted, InvalidInput
from selfie.runs.lineage import sources_of
from selfie.runs.load import dump_run, parse_run
from selfie.runs.spec import SelfieRun
from selfie.runs.steps import steps_of

RUN = """
apiVersion: selfie.dev/v1alpha1
kind: SelfieRun
metadata: {{name: {name}}}
spec:
  model: {{uri: builtin://toy}}
  seed: {{dataset: seed.jsonl, heldout: heldout.jsonl}}
  rounds: [{{prompts: {{dataset: a}}}}, {{prompts: {{dataset: b}}}}]
  evaluation: {{prompts: {{dataset: e}}}}
  {extra}
"""
PREPARED = ("model", "seed", "heldout", "evaluation-prompts", "prompts-round-01", "prompts-round-02")
MADE = datetime(2026, 3, 1, tzinfo=UTC)


def run_of(name: str, extra: str = "") -> SelfieRun:
    return parse_run(RUN.format(name=name, extra=extra))


def file_of(store: Store, path: str, group: str) -> FileEntry:
    data = f"{group} at {path}".encode()
    store.write(path, data)
    return FileEntry(group=group, name=group, path=path, sha256=digest_bytes(data).sha256, bytes=len(data))


@pytest.fixture
def donor(tmp_path: Path) -> Store:
    """A run of which every step is published; each manifest names those that its step has read."""
    store, run = open_store((tmp_path / "donor").as_uri()), run_of("donor")
    store.write("run.yaml", dump_run(run).encode())
    refs: dict[str, str] = {}
    for step in steps_of(run.spec):
        groups = PREPARED if step.name == "prepare" else (f"made-by-{step.name}", "checkpoint")
        files = tuple(file_of(store, f"{step.path}/a1/{group}", group) for group in groups)
        inputs = {role: refs[source.step] for role, source in sources_of(run.spec, step, ()).items()}
        manifest = Manifest(
            run_uid="donor-uid",
            round=step.round,
            step=step.path,
            attempt=1,
            writer="w",
            files=files,
            inputs=inputs,
            parameters={"pairs": {"sha256": next(iter(inputs.values()), "")}, "list": [*inputs.values()]},
            started_at=MADE,
            finished_at=MADE + timedelta(seconds=5),
        )
        refs[step.path] = publish(store, manifest).sha256
    return store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "own").as_uri())


@pytest.fixture
def taking_over(store: Store, donor: Store, tmp_path: Path) -> Callable[..., Manifest]:
    def take(extra: str = "", *, origin: str | None = None) -> Manifest:
        run = run_of("own", f"{extra}\n  resumeFrom: {origin or donor.uri}")
        raw: dict[str, Any] = {
            "attempt": {"runUri": store.uri, "step": "adopt", "number": 1, "runUid": "own-uid"},
            "cacheDir": str(tmp_path / "cache"),
            "run": run.model_dump(mode="json", by_alias=True),
        }
        return adopt(store, raw)

    return take


def own(store: Store) -> dict[str, Manifest]:
    found = {step.path: read_manifest(store, step.path) for step in steps_of(run_of("own").spec)}
    return {path: manifest for path, manifest in found.items() if manifest is not None}


def test_what_is_taken_over_is_whole_and_says_whose_it_was(taking_over, store: Store, donor: Store):
    manifest = taking_over()
    taken = own(store)
    assert set(taken) == {step.path for step in steps_of(run_of("own").spec)}
    assert (manifest.counts["steps"], manifest.counts["left"]) == (len(taken), 0)
    for path, mine in taken.items():
        verify(store, mine)
        published = read_published(donor, path)
        assert published is not None
        theirs, ref = published
        assert mine.adopted is not None
        assert (mine.adopted.run_uri, mine.adopted.sha256) == (donor.uri, ref.sha256)
        assert mine.run_uid == "own-uid"
        assert (mine.files, mine.started_at) == (theirs.files, theirs.started_at)


def test_its_manifests_name_each_other_and_none_of_the_other_run(taking_over, store: Store):
    taking_over()
    refs = {}
    for path in own(store):
        published = read_published(store, path)
        assert published is not None
        refs[path] = published[1].sha256
    for step in steps_of(run_of("own").spec):
        manifest = own(store)[step.path]
        expected = {
            role: refs[source.step] for role, source in sources_of(run_of("own").spec, step, ()).items()
        }
        assert manifest.inputs == expected
        assert manifest.parameters["list"] == [*expected.values()]


def test_a_fork_takes_over_what_comes_before_it(taking_over, store: Store):
    manifest = taking_over("filter: {noisyPercent: 20}")
    assert "rounds/01/score" in own(store)
    assert "rounds/01/filter" not in own(store)
    assert manifest.counts["left"] == len(steps_of(run_of("own").spec)) - len(own(store))


@pytest.mark.parametrize("damage", ["altered", "missing"])
def test_a_damaged_step_is_left_to_be_done_again(taking_over, store: Store, donor: Store, damage: str):
    path = "rounds/01/score/a1/made-by-score"
    if damage == "altered":
        donor.write(path, b"another")
    else:
        donor.delete(path)
    taking_over()
    assert "rounds/01/generate" in own(store)
    assert not {"rounds/01/score", "rounds/01/filter", "rounds/02/generate"} & set(own(store))


def let_go(donor: Store, step: str, group: str) -> None:
    """What retention does to a group."""
    manifest = read_manifest(donor, step)
    assert manifest is not None
    files = tuple(entry.path for entry in manifest.group(group))
    record_retirement(
        donor, Retirement(step=step, group=group, reason="old", retired_at=MADE, bytes=1, files=files)
    )
    for path in files:
        donor.delete(path)


def test_what_retention_let_go_is_not_missed_where_nothing_reads_it(taking_over, store: Store, donor: Store):
    let_go(donor, "rounds/00/publish", "checkpoint")
    let_go(donor, "rounds/01/train", "checkpoint")
    manifest = taking_over()
    assert manifest.counts["left"] == 0
    retired = read_retirement(store, "rounds/01/train")
    assert retired is not None
    assert retired.group == "checkpoint"


def test_what_retention_let_go_and_a_step_still_reads_is_made_again(taking_over, store: Store, donor: Store):
    let_go(donor, "rounds/00/publish", "checkpoint")
    # Another filter trains round 1 again, from the seed's policy, which is gone.
    taking_over("filter: {noisyPercent: 20}")
    assert "rounds/00/seed" in own(store)
    assert "rounds/00/publish" not in own(store)


def test_prompts_that_this_run_has_others_for_are_left_out(store: Store, donor: Store, tmp_path: Path):
    run = parse_run(
        RUN.replace("dataset: b", "dataset: other").format(name="own", extra=f"resumeFrom: {donor.uri}")
    )
    raw = {
        "attempt": {"runUri": store.uri, "step": "adopt", "number": 1, "runUid": "own-uid"},
        "cacheDir": str(tmp_path / "cache"),
        "run": run.model_dump(mode="json", by_alias=True),
    }
    manifest = adopt(store, raw)
    assert {entry.group for entry in own(store)["prepare"].files} == set(PREPARED) - {"prompts-round-02"}
    assert "rounds/02/generate" not in own(store)
    # Round 2 has a `prepare` of its own to do, and its nine other steps.
    assert manifest.counts["left"] == 10


def test_done_again_it_copies_nothing(taking_over, store: Store):
    first = taking_over()
    again = taking_over()
    assert first.counts["bytes"] > 0
    assert again.counts["bytes"] == 0
    assert again.counts["steps"] == first.counts["steps"]


def test_what_was_taken_over_before_still_names_the_first(taking_over, store: Store, donor: Store, tmp_path):
    taking_over()
    store.write("run.yaml", dump_run(run_of("own")).encode())
    third = open_store((tmp_path / "third").as_uri())
    raw = {
        "attempt": {"runUri": third.uri, "step": "adopt", "number": 1, "runUid": "third-uid"},
        "cacheDir": str(tmp_path / "cache"),
        "run": run_of("third", f"resumeFrom: {store.uri}").model_dump(mode="json", by_alias=True),
    }
    adopt(third, raw)
    assert {manifest.adopted.run_uri for manifest in own(third).values() if manifest.adopted} == {donor.uri}


def test_a_place_without_a_run_is_refused_by_its_field(taking_over, tmp_path: Path):
    with pytest.raises(InvalidInput, match=r"spec\.resumeFrom.*has no run"):
        taking_over(origin=(tmp_path / "nothing").as_uri())


def test_a_run_that_cannot_be_read_is_said_to_be_damaged(taking_over, donor: Store):
    donor.write("run.yaml", b"kind: [")
    with pytest.raises(DataCorrupted, match="not a SelfieRun"):
        taking_over()
