"""The document of results says what the runs say, and calls noise noise."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(scope="module")
def results() -> ModuleType:
    spec = importlib.util.spec_from_file_location("results", ROOT / "tools/results.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_variant_of_one_seed_takes_over_from_its_main_run(results: ModuleType, tmp_path: Path):
    file = results.specification(tmp_path, "judge-longest", 4)
    document = yaml.safe_load(file.read_text())
    assert document["metadata"]["name"] == "paper-judge-longest-s4"
    assert document["spec"]["randomSeed"] == 4
    assert document["spec"]["resumeFrom"] == (tmp_path / "paper-main-s4").as_uri()
    assert document["spec"]["scoring"] == {"judge": "longest"}
    assert Path(document["spec"]["seed"]["dataset"].removeprefix("file://")).is_file()
    assert "resumeFrom" not in yaml.safe_load(results.specification(tmp_path, "main", 4).read_text())["spec"]


def test_the_tables_have_every_run_and_too_few_seeds_make_no_claim(
    results: ModuleType, tmp_path: Path, publish: Callable[..., Path], spec_of
):
    for seed in (1, 2):
        for variant, judge in (("main", "implicit"), ("judge-random", "random")):
            run = spec_of(f"paper-{variant}-s{seed}", seed=seed, scoring__judge=judge)
            place = publish(run.metadata.name, [1.0, -1.0] * 8, [1.0] * 16, run=run)
            (place / "status.json").write_text("{}")
    text = results.document(tmp_path / "runs")
    assert "| Selfie (`main`) | 1, 2 |" in text
    assert "| control: labels by chance (`judge-random`) | 1, 2 |" in text
    assert "| Selfie | 2 | 1 | 100.0 |" in text
    assert "too few seeds" in text
    assert "better" not in text.split("## Every run")[0].split("| variant | round |")[1]


def test_without_runs_it_says_how_to_make_them(results: ModuleType, tmp_path: Path):
    with pytest.raises(SystemExit, match=r"results\.py run"):
        results.document(tmp_path)
