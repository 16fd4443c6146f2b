"""`selfie plan` as people type it: what it prints, and the status that it exits with."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from selfie.cli.__main__ import app
from selfie.cli.planning import WIDTH, print_plan
from selfie.local.planning.gathering import QUICK, plan_of
from selfie.runs.estimates.advice import Machine
from selfie.runs.estimates.measured import Measured, ScoringTime
from selfie.runs.load import parse_run

RUN = """
apiVersion: selfie.dev/v1alpha1
kind: SelfieRun
metadata: {{name: toy}}
spec:
  model: {{uri: {model}}}
  seed: {{dataset: seed.jsonl, heldout: heldout.jsonl}}
  rounds:
  - prompts: {{dataset: prompts.jsonl, count: 30}}
  - prompts: {{dataset: prompts.jsonl, count: 30}}
  scoring: {{lambda: "0.5"}}
  training: {{batch: 4, refinement: offline}}
"""


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def write(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def file(tmp_path: Path, tiny_checkpoint: Path) -> Path:
    """A run with its data beside it."""
    pair = {"prompt": "What is the sea?", "chosen": "The sea is wide.", "rejected": "It is deep, the sea."}
    write(tmp_path / "seed.jsonl", [pair] * 20)
    write(tmp_path / "heldout.jsonl", [{**pair, "chosen": "The sea is deep."}] * 10)
    write(tmp_path / "prompts.jsonl", [{"prompt": f"How do I bake {n} breads?"} for n in range(30)])
    path = tmp_path / "run.yaml"
    path.write_text(RUN.format(model=tiny_checkpoint))
    return path


def test_a_plan_as_text_has_every_stage_the_totals_and_the_assumptions(file):
    result = invoke("plan", str(file), "--quick")
    assert result.exit_code == 0
    for part in (
        "evaluate: heldout",
        "20 pairs",
        "60 samples",
        "In all",
        "memory, trainer",
        "Assumed",
        QUICK,
    ):
        assert part in result.stdout
    assert "look again: spec.seed.heldoutSize is 10 pairs" in result.stdout


def test_no_line_is_wider_than_a_hundred_columns(file):
    result = invoke("plan", str(file), "--quick")
    assert max(map(len, result.stdout.splitlines())) <= WIDTH


def test_rounds_that_are_alike_are_told_once(file):
    result = invoke("plan", str(file), "--quick")
    assert "1–2" in result.stdout
    assert result.stdout.count("generate ") == 1


def test_a_plan_as_json_has_every_step_in_order(file):
    result = invoke("plan", str(file), "--quick", "-o", "json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    paths = [step["path"] for step in found["steps"]]
    assert paths[:2] == ["prepare", "rounds/00/seed"]
    assert paths[-1] == "rounds/02/evaluate-heldout"
    assert found["notes"] == [QUICK]
    assert found["total"]["seconds"]["low"] < found["total"]["seconds"]["high"]


def test_a_plan_starts_and_leaves_nothing(file):
    before = sorted(file.parent.iterdir())
    invoke("plan", str(file), "--quick", "--artifacts", str(file.parent / "runs"))
    assert sorted(file.parent.iterdir()) == before


def test_data_that_cannot_be_used_is_told_by_field(file):
    file.write_text(file.read_text().replace("count: 30", "count: 31"))
    result = invoke("plan", str(file), "--quick")
    assert result.exit_code == 2
    assert "spec.rounds[0].prompts.count: asks for 31" in result.stderr


def test_a_model_of_which_nothing_is_known_is_told_by_field(file):
    file.write_text(RUN.format(model="hf://org/name"))
    result = invoke("plan", str(file), "--quick")
    assert result.exit_code == 2
    assert "spec.model.uri" in result.stderr


def test_an_unknown_form_of_output_is_refused(file):
    result = invoke("plan", str(file), "-o", "xml")
    assert result.exit_code == 2
    assert "use text or json" in result.stderr


def test_what_was_measured_is_shown_beside_what_follows(file, tiny_checkpoint):
    def attempt(trials, _model):
        return Measured(ScoringTime(trial=trials.scoring, seconds=2.0, peak_bytes=7e8))

    run = parse_run(RUN.format(model=tiny_checkpoint).replace(".jsonl", "-elsewhere.jsonl"))
    machine = Machine(cores=2, memory=16e9, disk=None)
    plan = plan_of(run, machine=machine, cache_root=file.parent, attempt=attempt)
    page = io.StringIO()
    print_plan(Console(width=WIDTH, file=page), plan)
    assert "Measured here" in page.getvalue()
    assert "0.70 GB (arithmetic:" in page.getvalue()


def test_gpu_hours_are_told_by_who_holds_the_devices(file):
    file.write_text(RUN.format(model="hf://org/some-7b") + "  gpusPerNode: 2\n")
    result = invoke("plan", str(file))
    assert result.exit_code == 0
    for part in ("GPU-hours, engine", "GPU-hours, scoring", "GPU-hours, trainer"):
        assert part in result.stdout
