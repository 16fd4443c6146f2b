"""The document of results says what the runs say, and calls noise noise."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[4] / "tools"))
sys.path.insert(0, str(Path(__file__).resolve().parents[4] / "tools/results"))

from document import tables, wins
from studies import STUDIES, Study

from keeping import keep
from pages import with_table
from selfie.artifacts.run_files import write_status
from selfie.artifacts.store import open_store
from selfie.compare.comparing import compare_runs
from selfie.runs.conditions import Condition
from selfie.runs.load import parse_run
from selfie.runs.status import RunStatus

QUICKSTART = STUDIES["quickstart"]
END = datetime(2026, 11, 22, tzinfo=UTC)
COMPLETED = RunStatus(
    conditions=(Condition(type="Succeeded", status="True", reason="Completed", last_transition_time=END),)
)
EASY = "The cat sat on the mat. It was a warm day, and it slept."
HARD = "Institutional considerations necessitate deliberation."
LABELLED = {
    "chosen_text": "Institutional considerations necessitate deliberation.",
    "rejected_text": "The cat sat on the mat.",
    "chosen_tokens": 9,
    "rejected_tokens": 4,
}


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_every_variant_of_one_seed_takes_over_from_its_main_run(study: Study, tmp_path: Path):
    for variant in study.variants:
        run = parse_run(study.specification(tmp_path, variant, 4).read_text())
        assert run.metadata.name == f"{study.prefix}-{variant}-s4"
        assert run.spec.random_seed == 4
        takes_over = (tmp_path / f"{study.prefix}-main-s4").as_uri() if variant != "main" else None
        assert run.spec.resume_from == takes_over
        assert run.spec.seed.dataset.startswith("file:///")


def test_a_study_names_the_data_that_are_not_here(tmp_path: Path):
    (tmp_path / "main.yaml").write_text((QUICKSTART.folder / "main.yaml").read_text())
    elsewhere = Study("toy", "Toy", "", tmp_path / "deep", "toy", {"main": "Selfie"}, (1,))
    elsewhere.folder.mkdir()
    (tmp_path / "main.yaml").rename(elsewhere.folder / "main.yaml")
    assert {path.name for path in elsewhere.missing_data()} == {
        "seed.jsonl",
        "heldout.jsonl",
        "prompts.jsonl",
        "evaluation_prompts.jsonl",
    }
    assert QUICKSTART.missing_data() == []


def test_the_tables_have_every_run_and_too_few_seeds_make_no_claim(
    tmp_path: Path, publish: Callable[..., Path], toy_at, pair_of, spec_of
):
    for seed in (1, 2):
        for variant, judge in (("main", "implicit"), ("judge-random", "random")):
            run = spec_of(f"paper-{variant}-s{seed}", seed=seed, scoring__judge=judge)
            place = publish(run.metadata.name, [1.0, -1.0] * 8, [1.0] * 16, run=run)
            pairs = [pair_of(name, **LABELLED) for name in "abcde"[: 3 + seed]]
            toy_at(open_store(place.as_uri())).pairs("rounds/01/filter", pairs)
    text = "\n".join(tables(QUICKSTART, tmp_path / "runs"))
    assert "| Selfie (`main`) | 1, 2 |" in text
    assert "| control: labels by chance (`judge-random`) | 1, 2 |" in text
    assert "| Selfie | 2 | 1 | 100.0 |" in text
    assert "| Selfie | 1 | 0.0 [0.0, 29.9] of 9 | 100.0 [70.1, 100.0] of 9 |" in text
    assert "too few seeds" in text
    assert "better" not in text.split("### Every run")[0].split("| variant | round |")[1]


def test_the_methods_win_rates_are_held_against_each_controls_seed_by_seed(judged, spec_of, rated):
    initial = rated([EASY, HARD] * 6)
    written = {
        "main-s1": [EASY] * 11 + [HARD],
        "main-s2": [EASY, EASY, HARD] * 4,
        "random-s1": [HARD, EASY] * 6,
        "random-s2": [HARD] * 10 + [EASY] * 2,
    }
    judge = {"m": "implicit", "r": "random"}
    runs = [
        judged(
            name,
            [1.0] * 12,
            [1.0] * 12,
            run=spec_of(name, seed=int(name[-1]), scoring__judge=judge[name[0]]),
            responses={0: rated(texts[::-1]), 1: rated(texts)},
            baselines={"initial": initial, "seed": rated(texts[::-1])},
        )
        for name, texts in written.items()
    ]
    names = {name: {"m": "Selfie", "r": "control"}[name[0]] for name in written}
    rows = [line.strip("| ").split(" | ") for line in wins(compare_runs(runs, runs[0]), names)[4:] if line]
    by_place = {tuple(row[:3]): row for row in rows}
    assert {place[2] for place in by_place} == {"π_0", "π_init"}
    own, control = by_place["Selfie", "1", "π_init"], by_place["control", "1", "π_init"]
    assert own[4] == "–"
    assert control[4].startswith("+")
    assert len(own[6].split(", ")) == len(control[6].split(", ")) == 2


def test_a_study_without_runs_has_no_tables(tmp_path: Path):
    assert tables(QUICKSTART, tmp_path) == []


def test_the_page_has_a_place_for_the_tables_of_every_study():
    page = (Path(__file__).resolve().parents[4] / "docs/results.md").read_text()
    for name in STUDIES:
        assert "| new |" in with_table(page, f"tools/results {name}", "| new |")
    with pytest.raises(ValueError, match="no <!-- table: another -->"):
        with_table(page, "another", "| new |")


def test_what_is_kept_of_completed_runs_gives_the_same_tables(
    tmp_path: Path, publish: Callable[..., Path], spec_of
):
    for variant in ("main", "judge-random"):
        run = spec_of(f"paper-{variant}-s1", seed=1)
        place = publish(run.metadata.name, [1.0, -1.0] * 8, [1.0] * 16, run=run)
        (place / "model.safetensors").write_bytes(b"many")
        write_status(open_store(place.as_uri()), COMPLETED)
    before = tables(QUICKSTART, tmp_path / "runs")
    unfinished = spec_of("paper-main-s2", seed=2)
    publish(unfinished.metadata.name, [1.0] * 16, run=unfinished)
    for _ in range(2):
        kept = list(keep(QUICKSTART, tmp_path / "runs", tmp_path / "kept"))
        assert [place.name for place in kept] == ["paper-main-s1", "paper-judge-random-s1"]
    assert tables(QUICKSTART, tmp_path / "kept") == before
    assert not list((tmp_path / "kept").rglob("*.safetensors"))
