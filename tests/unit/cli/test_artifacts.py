"""`selfie artifacts` as people and init containers type it."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from selfie.cli.__main__ import app
from selfie.cli.holdings import age_in_words, size_in_words
from selfie.runs.status import BestRound, RunStatus, object_of_status

WEIGHTS = "rounds/00/seed/a1/checkpoint-w/model.safetensors"


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["artifacts", *arguments])


def cells_of(line: str) -> list[str]:
    return [cell for cell in line.split("  ") if cell]


@pytest.fixture
def whole(made):
    """Round 0 and round 1, whole; round 0 is the better one."""
    made.whole(0.8, 0.7)
    made.write_run(rounds=1)
    return made


def test_the_steps_are_listed_with_what_they_hold(whole):
    result = invoke("ls", whole.store.uri)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == whole.store.uri
    assert cells_of(lines[1]) == ["step", "round", "attempt", "groups", "rows", "bytes", "age", "weights"]
    train = next(cells_of(line) for line in lines if line.startswith("rounds/01/train"))
    assert [cell.strip() for cell in train[:6]] == [
        "rounds/01/train",
        "1",
        "a1",
        "checkpoint, steps",
        "4",
        "922 B",
    ]
    assert train[-1] == whole.digest("rounds/01/train")[:12]
    assert lines[-2].startswith("12 steps published; ")


def test_attempts_that_published_nothing_are_listed_as_what_they_are(whole):
    whole.store.write("rounds/02/generate/a1/samples-00000-x.parquet", b"12345")
    whole.store.write("rounds/01/train/a2/checkpoint-x/model.safetensors", b"123")
    lines = invoke("ls", whole.store.uri).stdout.splitlines()
    told = [cells_of(line) for line in lines]
    assert ["rounds/02/generate", "2", "a1", "unpublished", "5 B"] in [
        [c.strip() for c in row] for row in told
    ]
    assert ["rounds/01/train", "1", "a2", "lost", "3 B"] in [[c.strip() for c in row] for row in told]
    assert lines[-1] == "named by no manifest: 2 files, 8 B"


def test_a_list_as_json_has_every_number_and_the_whole_digest(whole):
    whole.store.write("rounds/01/train/a1/checkpoint-x/model.safetensors", b"123")
    found = json.loads(invoke("ls", whole.store.uri, "-o", "json").stdout)
    step = next(entry for entry in found["steps"] if entry["step"] == "rounds/00/publish")
    assert step["weightsDigest"] == whole.digest("rounds/00/publish")
    assert step["groups"]["checkpoint"] == {"files": 3, "rows": 0, "bytes": 922, "retired": False}
    assert found["unnamed"] == {"files": 1, "bytes": 3}
    assert found["bytes"] == sum(whole.store.sizes("prepare").values()) + sum(
        whole.store.sizes("rounds").values()
    )


@pytest.mark.parametrize("command", ["ls", "verify", "gc"])
def test_a_run_that_is_not_there_is_told_with_what_to_do(tmp_path, command):
    result = invoke(command, "nothing", "--artifacts", str(tmp_path))
    assert result.exit_code == 1
    assert "`selfie run FILE` makes one" in result.stderr


@pytest.mark.parametrize("way", ["directory", "uri", "name"])
def test_a_run_is_found_by_its_directory_its_uri_and_its_name(whole, way):
    root = Path(whole.store.local_path("run.yaml")).parent
    place = {"directory": str(root), "uri": whole.store.uri, "name": "made"}[way]
    result = invoke("ls", place, "--artifacts", str(root.parent))
    assert result.stdout.splitlines()[0] == whole.store.uri


def test_a_run_that_is_whole_is_said_to_be_whole(whole):
    result = invoke("verify", whole.store.uri)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "12 steps: all is as its manifests say, 0 removed by retention, 0 remarks\n"


def test_each_damage_is_one_line_and_the_exit_status_tells(whole):
    whole.store.delete(WEIGHTS)
    whole.store.write("rounds/01/filter/a1/pairs-00000-w.parquet", b"")
    result = invoke("verify", whole.store.uri)
    assert result.exit_code == 1
    *lines, last = result.stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["damaged:", WEIGHTS],
        ["damaged:", "rounds/01/filter/a1/pairs-00000-w.parquet"],
    ]
    assert all("; restore it from a copy, or delete " in line for line in lines)
    assert last.startswith("12 steps: 2 damaged")


def test_findings_as_json_say_whether_all_is_well(whole):
    assert json.loads(invoke("verify", whole.store.uri, "-o", "json").stdout)["ok"] is True
    whole.store.delete(WEIGHTS)
    result = invoke("verify", whole.store.uri, "rounds/00/seed/", "-o", "json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["ok"], found["steps"]) == (1, False, ["rounds/00/seed"])
    assert found["findings"][0]["path"] == WEIGHTS


def test_a_step_that_is_not_published_cannot_be_verified(whole):
    result = invoke("verify", whole.store.uri, "rounds/07/train")
    assert result.exit_code == 2
    assert "'rounds/07/train' is not published" in result.stderr


def write_best(made, number: int) -> None:
    step = f"rounds/{number:02d}/publish"
    best = BestRound(round=number, step=step, digest=made.digest(step), accuracy=0.8)
    made.store.write("status.json", json.dumps(object_of_status(RunStatus(best=best))).encode())


@pytest.mark.parametrize(
    ("arguments", "best", "readme"),
    [
        pytest.param([], 0, "# Round 0", id="the best round"),
        pytest.param([], None, "# Round 1", id="the last one, while none is the best"),
        pytest.param(["--round", "1"], 0, "# Round 1", id="a round"),
        pytest.param(["--step", "rounds/00/publish"], None, "# Round 0", id="a step"),
    ],
)
def test_a_checkpoint_is_pulled_and_its_directory_is_the_last_line(whole, tmp_path, arguments, best, readme):
    if best is not None:
        write_best(whole, best)
    target = tmp_path / "weights"
    for _ in range(2):
        result = invoke("pull", whole.store.uri, str(target), *arguments)
        assert result.exit_code == 0, result.stderr
        assert result.stdout.splitlines()[-1] == str(target)
    assert (target / "README.md").read_text().startswith(readme)


def test_a_group_of_a_step_is_pulled(whole, tmp_path):
    arguments = ("--step", "prepare", "--group", "model")
    result = invoke("pull", whole.store.uri, str(tmp_path / "model"), *arguments)
    assert result.exit_code == 0
    assert whole.digest("prepare", "model") in result.stdout
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == b"initial" * 100


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        pytest.param(["--round", "0", "--step", "prepare"], 2, "give one of them", id="two choices"),
        pytest.param(["--group", "model"], 2, "add --step", id="a group of no step"),
        pytest.param(["--step", "somewhere"], 2, "is no step", id="a step that there is not"),
        pytest.param(["--round", "9"], 1, "has not published rounds/09/publish", id="a round to come"),
        pytest.param(["--step", "prepare"], 1, "its groups: heldout, model", id="a group that there is not"),
    ],
)
def test_a_choice_that_cannot_be_pulled_is_told_with_what_to_do(whole, tmp_path, arguments, status, words):
    result = invoke("pull", whole.store.uri, str(tmp_path / "target"), *arguments)
    assert result.exit_code == status
    assert words in result.stderr
    assert not (tmp_path / "target").exists()


def test_a_directory_that_is_something_else_is_refused(whole, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    result = invoke("pull", whole.store.uri, str(tmp_path))
    assert result.exit_code == 2
    assert "empty it, or give another directory" in result.stderr


def test_a_run_without_a_checkpoint_has_none_to_pull(made, tmp_path):
    made.prepare(rounds=1)
    result = invoke("pull", made.store.uri, str(tmp_path / "target"))
    assert result.exit_code == 1
    assert "has no published checkpoint yet" in result.stderr


def test_a_dry_run_tells_every_file_with_bytes_and_reason_and_removes_none(whole):
    whole.store.write("rounds/01/train/a2/checkpoint-x/model.safetensors", b"123")
    before = whole.store.sizes("")
    result = invoke("gc", whole.store.uri, "--dry-run")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "rounds/01/train/a2/checkpoint-x/model.safetensors  3  attempt 1 published",
        "1 file, 3 B to be removed; nothing was",
    ]
    assert whole.store.sizes("") == before


def test_what_nothing_names_is_removed_and_the_rest_is_whole(whole):
    before = whole.store.sizes("")
    whole.store.write("rounds/01/train/a2/checkpoint-x/model.safetensors", b"123")
    result = invoke("gc", whole.store.uri)
    assert result.stdout.splitlines()[-1] == "1 file, 3 B removed"
    assert whole.store.sizes("") == before
    assert invoke("verify", whole.store.uri).exit_code == 0


@pytest.mark.parametrize(
    ("size", "words"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (5.4e8, "540.0 MB"), (2e12, "2.0 TB")]
)
def test_sizes_are_told_in_the_unit_that_fits(size, words):
    assert size_in_words(size) == words


@pytest.mark.parametrize(
    ("seconds", "words"), [(-3, "0 s"), (119, "119 s"), (120, "2 min"), (9000, "2 h"), (200_000, "2 d")]
)
def test_ages_are_told_in_the_unit_that_fits(seconds, words):
    assert age_in_words(seconds) == words


@pytest.fixture
def long(made):
    """Four rounds of which the first is the best; retention keeps one beside it."""
    made.whole(0.8, 0.5, 0.6, 0.7)
    made.write_run(rounds=3, checkpoints=1)
    write_best(made, 0)
    return made


def test_a_dry_run_tells_what_retention_would_let_go(long):
    before = long.store.sizes("")
    result = invoke("gc", long.store.uri, "--dry-run")
    assert result.exit_code == 0
    told = {line.split()[0] for line in result.stdout.splitlines()[:-1]}
    assert "rounds/01/train/a1/checkpoint-w/model.safetensors" in told
    assert not [path for path in told if path.startswith(("rounds/00", "prepare"))]
    [line] = [line for line in result.stdout.splitlines() if "rounds/01/train/a1/checkpoint-w/model" in line]
    assert "900  retention: round 1 is not the best, is not among the newest 1" in line
    assert long.store.sizes("") == before


def test_what_retention_lets_go_is_listed_as_retired_and_is_no_damage(long, tmp_path):
    assert invoke("gc", long.store.uri).exit_code == 0
    lines = invoke("ls", long.store.uri).stdout.splitlines()
    gone = [f"rounds/{number:02d}/{name}" for number in (1, 2) for name in ("train", "publish")]
    assert [line.split()[0] for line in lines if "(retired)" in line] == gone
    result = invoke("verify", long.store.uri)
    assert (result.exit_code, result.stdout.count("removed: ")) == (0, 4)
    assert result.stdout.splitlines()[-1].endswith(
        "all is as its manifests say, 4 removed by retention, 0 remarks"
    )
    result = invoke("pull", long.store.uri, str(tmp_path / "target"), "--round", "1")
    assert result.exit_code == 1
    assert "removed by retention: round 1 is not the best" in result.stderr
    assert invoke("gc", long.store.uri).stdout == "0 files, 0 B removed\n"


def test_without_its_specification_no_checkpoint_of_a_run_is_let_go(long):
    long.store.delete("run.yaml")
    result = invoke("gc", long.store.uri)
    assert result.stdout.splitlines() == [
        "0 files, 0 B removed",
        f"{long.store.uri} has no run.yaml: no checkpoint is let go",
    ]


def test_the_cache_of_what_goes_is_told_and_goes_too(long):
    root = Path(long.store.local_path("run.yaml")).parent
    cached = root / ".local" / "cache" / "weights" / long.digest("rounds/01/publish")
    cached.mkdir(parents=True)
    (cached / "model.safetensors").hardlink_to(root / "rounds/01/train/a1/checkpoint-w/model.safetensors")
    told = invoke("gc", long.store.uri, "--dry-run").stdout
    assert f"{cached}/model.safetensors  0    cached for a checkpoint that goes" in told
    invoke("gc", long.store.uri)
    assert not cached.exists()
