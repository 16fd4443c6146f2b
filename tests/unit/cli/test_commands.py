"""Commands as people type them: what they print, and the status that they exit with."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import selfie
from selfie.cli.__main__ import app
from selfie.cli.places import load_file
from selfie.local.places import open_run
from selfie.runs.conditions import Condition
from selfie.runs.status import Accuracy, RoundStatus, RunStatus

RUN = """
apiVersion: selfie.dev/v1alpha1
kind: SelfieRun
metadata: {name: toy}
spec:
  model: {uri: builtin://toy}
  seed: {dataset: seed.jsonl, heldout: heldout.jsonl}
  rounds:
  - prompts: {dataset: prompts.jsonl}
"""
WRONG = """
apiVersion: selfie.dev/v1alpha1
kind: SelfieRun
metadata: {name: toy}
spec:
  model: {uri: builtin://toy}
  seed: {dataset: seed.jsonl}
  rounds:
  - prompts: {dataset: prompts.jsonl}
  training: {beta: 0.2}
  scoring: {judje: longest}
"""
STATUS = RunStatus(
    conditions=(
        Condition(
            type="Succeeded",
            status="Unknown",
            reason="Generating",
            message="round 1 [draws] responses",
            last_transition_time="2026-03-01T12:00:00Z",
        ),
    ),
    round=1,
    progress="7/16",
    rounds=(RoundStatus(round=0, accuracy=Accuracy(value=0.625, mean=0.75), mean_length=41.5),),
)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(RUN)
    return path


@pytest.fixture
def artifacts(file: Path, tmp_path: Path) -> str:
    """A folder with the run in it, which has been looked at."""
    folder = tmp_path / "runs"
    open_run(load_file(file), folder.as_uri()).write_status(STATUS)
    return str(folder)


def test_a_valid_file_is_said_to_be_valid(file):
    result = invoke("validate", str(file))
    assert result.exit_code == 0
    assert "is valid: 1 rounds, run 'toy'" in " ".join(result.stdout.split())


def test_every_mistake_of_a_file_is_told_with_line_path_and_remedy(tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text(WRONG)
    result = invoke("validate", str(path))
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("error: line 10: spec.training.beta")
    assert '"0.2"' in lines[0]
    assert lines[1].startswith("error: line 11: spec.scoring.judje")
    assert "judge" in lines[1]
    assert result.stdout == ""


def test_a_file_that_is_not_there_is_named(tmp_path):
    result = invoke("validate", str(tmp_path / "none.yaml"))
    assert result.exit_code == 2
    assert "none.yaml cannot be read" in result.stderr


def test_a_status_as_json_is_what_a_cluster_would_show(artifacts):
    result = invoke("status", "toy", "--artifacts", artifacts, "-o", "json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["progress"] == "7/16"
    assert found["conditions"][0]["reason"] == "Generating"
    assert found["rounds"][0]["accuracy"] == {"value": 0.625, "mean": 0.75}


def test_a_status_as_text_tells_state_progress_and_rounds(artifacts):
    result = invoke("status", "toy", "--artifacts", artifacts)
    assert result.exit_code == 0
    for part in ("toy", "Generating", "7/16", "round 1 [draws] responses", "62.5 %", "75.0 %", "41.5"):
        assert part in result.stdout


@pytest.mark.parametrize("way", ["file", "directory", "uri", "name"])
def test_a_run_is_found_by_its_file_its_directory_its_uri_and_its_name(file, artifacts, way):
    folder = Path(artifacts)
    place = {
        "file": str(file),
        "directory": str(folder / "toy"),
        "uri": (folder / "toy").as_uri(),
        "name": "toy",
    }[way]
    result = invoke("status", place, "--artifacts", artifacts, "-o", "json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["progress"] == "7/16"


def test_an_unknown_form_of_output_is_refused_with_those_that_there_are(artifacts):
    result = invoke("status", "toy", "--artifacts", artifacts, "-o", "xml")
    assert result.exit_code == 2
    assert "use text or json" in result.stderr


@pytest.mark.parametrize("command", ["report", "status"])
def test_a_run_that_does_not_exist_is_told_with_what_to_do(tmp_path, command):
    result = invoke(command, "nothing", "--artifacts", str(tmp_path))
    assert result.exit_code == 1
    assert f"there is no run at {tmp_path.as_uri()}/nothing" in result.stderr
    assert "`selfie run FILE` makes one" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_report_of_an_unfinished_run_is_written_and_its_path_is_the_last_line(artifacts):
    result = invoke("report", "toy", "--artifacts", artifacts)
    assert result.exit_code == 0
    page = Path(result.stdout.splitlines()[-1])
    assert page == Path(artifacts) / "toy" / "report" / "index.html"
    assert "Generating" in page.read_text()


def test_a_run_whose_fields_were_changed_is_refused_before_anything_starts(file, artifacts):
    file.write_text(RUN + '  training: {beta: "0.3"}\n')
    result = invoke("run", str(file), "--artifacts", artifacts)
    assert result.exit_code == 2
    assert "spec.training.beta" in result.stderr
    assert "--artifacts" in result.stderr


def test_an_unknown_service_is_refused_with_those_that_there_are():
    result = invoke("serve", "scorer")
    assert result.exit_code == 2
    assert "'scorer' is no service" in result.stderr
    assert "engine, generation, scoring, filtering, training" in result.stderr


def test_the_version_is_that_of_the_package():
    result = invoke("version")
    assert result.stdout == f"{selfie.__version__}\n"
