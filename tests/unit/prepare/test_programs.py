import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from selfie.artifacts.exits import Exit
from selfie.artifacts.manifests import Manifest, read_manifest
from selfie.artifacts.programs import Attempt, new_writer, run_program
from selfie.artifacts.progress import ProgressWriter
from selfie.artifacts.starts import begin
from selfie.artifacts.store import Store, open_store
from selfie.errors import DataCorrupted, InvalidInput, Unavailable

STEP = "rounds/02/train"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "run").as_uri())


@pytest.fixture
def parameters(tmp_path: Path, store: Store) -> list[str]:
    attempt = {"runUri": store.uri, "step": STEP, "number": 3, "runUid": "run-1"}
    path = tmp_path / "parameters.json"
    path.write_text(json.dumps({"attempt": attempt, "epochs": 2}))
    return ["--parameters", str(path)]


def succeed(store: Store, parameters: dict[str, Any]) -> Manifest:
    attempt = Attempt.model_validate(parameters["attempt"])
    return attempt.manifest(
        writer="w", started_at=datetime.now(UTC), parameters={"epochs": parameters["epochs"]}
    )


def test_a_program_that_succeeds_publishes_its_manifest(store: Store, parameters: list[str]):
    assert run_program(succeed, parameters) == 0
    manifest = read_manifest(store, STEP)
    assert manifest is not None
    assert (manifest.round, manifest.attempt, manifest.run_uid) == (2, 3, "run-1")
    assert manifest.parameters == {"epochs": 2}
    assert not store.exists(f"{STEP}/a3/error.json")


def test_a_step_that_is_published_is_not_done_again(parameters: list[str]):
    def refuse(store: Store, raw: dict[str, Any]) -> Manifest:
        raise AssertionError("started again")

    assert run_program(succeed, parameters) == 0
    assert run_program(refuse, parameters) == 0


@pytest.mark.parametrize(
    ("error", "status", "described"),
    [
        (InvalidInput("seed.size", "is 9", "use 3"), 2, ("InvalidInput", "seed.size: is 9; use 3", False)),
        (Unavailable("the hub is down"), 3, ("Unavailable", "the hub is down", True)),
        (DataCorrupted("torn"), 3, ("DataCorrupted", "torn", False)),
        (OSError("no space left"), 3, ("Internal", "OSError: no space left", True)),
        (ZeroDivisionError("oh"), 3, ("Internal", "ZeroDivisionError: oh", False)),
    ],
)
def test_an_error_ends_in_a_status_and_a_file_that_says_why(
    error: Exception, status: int, described: tuple[str, str, bool], store: Store, parameters: list[str]
):
    def fail(store: Store, raw: dict[str, Any]) -> Manifest:
        raise error

    assert run_program(fail, parameters) == status
    found = json.loads(store.read(f"{STEP}/a3/error.json"))["error"]
    assert (found["reason"], found["message"], found["retryable"]) == described
    assert read_manifest(store, STEP) is None


def test_a_start_that_was_overtaken_publishes_nothing(store: Store, parameters: list[str]):
    def overtaken(store: Store, raw: dict[str, Any]) -> Manifest:
        begin(store, f"{STEP}/a3", uid="a newer pod")
        return succeed(store, raw)

    assert run_program(overtaken, parameters) == Exit.SUPERSEDED
    assert read_manifest(store, STEP) is None
    assert not store.exists(f"{STEP}/a3/error.json")


def test_an_attempt_that_was_followed_by_another_publishes_nothing(store: Store, parameters: list[str]):
    def followed(store: Store, raw: dict[str, Any]) -> Manifest:
        store.write(f"{STEP}/a4/job.json", b"{}")
        return succeed(store, raw)

    assert run_program(followed, parameters) == Exit.OUTDATED
    assert read_manifest(store, STEP) is None


def test_of_several_ranks_the_first_publishes(
    store: Store, parameters: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("RANK", "1")
    assert run_program(succeed, parameters) == Exit.DONE
    assert read_manifest(store, STEP) is None
    assert store.list(f"{STEP}/a3/starts") == []
    monkeypatch.setenv("RANK", "0")
    assert run_program(succeed, parameters) == Exit.DONE
    assert read_manifest(store, STEP) is not None


def test_the_first_ranks_error_is_not_replaced_by_that_of_another(
    store: Store, parameters: list[str], monkeypatch: pytest.MonkeyPatch
):
    def fail(store: Store, raw: dict[str, Any]) -> Manifest:
        raise DataCorrupted(f"seen by rank {os.environ['RANK']}")

    for number in ("2", "0", "1"):
        monkeypatch.setenv("RANK", number)
        assert run_program(fail, parameters) == Exit.FAILED
    assert json.loads(store.read(f"{STEP}/a3/error.json"))["error"]["message"] == "seen by rank 0"


def test_parameters_without_attempt_name_the_field(tmp_path: Path):
    path = tmp_path / "parameters.json"
    path.write_text('{"attempt": {"runUri": "file:///x", "step": "prepare", "number": 0, "runUid": "u"}}')
    with pytest.raises(InvalidInput, match=r"parameters\.attempt\.number: .*greater than or equal to 1"):
        run_program(succeed, ["--parameters", str(path)])


def test_every_start_writes_under_a_name_of_its_own():
    assert len({new_writer() for _ in range(100)}) == 100


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def read_progress(store: Store) -> dict[str, Any]:
    return json.loads(store.read("prepare/a1/progress.json"))


def test_progress_is_written_at_most_twice_a_second_and_at_the_end(store: Store):
    clock = Clock()
    with ProgressWriter(store, "prepare/a1", clock=clock) as progress:
        progress.update(0, 10, "training", loss=0.7)
        clock.now += 0.4
        progress.update(1, 10, "training", loss=0.6)
        assert read_progress(store)["done"] == 0
        clock.now += 0.2
        progress.update(2, 10, "training", loss=0.5)
        assert read_progress(store)["done"] == 2
        progress.update(3, 10, "training", loss=0.4)
        assert read_progress(store)["done"] == 2
    found = read_progress(store)
    assert (found["done"], found["total"], found["activity"], found["measures"]) == (
        3,
        10,
        "training",
        {"loss": 0.4},
    )
    assert datetime.fromisoformat(found["updatedAt"]).tzinfo is not None


def test_the_time_left_is_reckoned_from_where_this_start_began(store: Store):
    clock = Clock()
    progress = ProgressWriter(store, "prepare/a1", clock=clock)
    progress.update(50, 100, "training")
    assert read_progress(store)["etaSeconds"] == 0
    clock.now += 20
    progress.update(60, 100, "training")
    assert read_progress(store)["etaSeconds"] == 80
    clock.now += 80
    progress.update(100, 100, "training")
    assert read_progress(store)["etaSeconds"] == 0


def test_progress_survives_a_store_that_is_away_for_a_moment(store: Store, tmp_path: Path):
    clock = Clock()
    progress = ProgressWriter(store, "prepare/a1", clock=clock)
    (tmp_path / "run").write_text("a file where the store's directory should be")
    progress.update(1, 2, "tokenising")
    (tmp_path / "run").unlink()
    progress.close()
    assert read_progress(store)["done"] == 1
