"""The rules of the house that no linter knows."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import selfie

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    path
    for folder in ("services/selfie", "operator/selfie_operator", "tools", "bench")
    for path in (ROOT / folder).rglob("*.py")
    if "selfie/v1" not in str(path)
)
SUPPORT = sorted((ROOT / "tests/support").glob("*.py"))


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES + SUPPORT, ids=relative)
def test_a_module_holds_one_idea_in_at_most_250_lines(path: Path):
    assert len(path.read_text().splitlines()) <= 250


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_a_function_fits_on_a_screen(path: Path):
    long = {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno - node.lineno >= 45
    }
    assert not long


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_a_module_says_why_it_exists(path: Path):
    text = path.read_text()
    assert not text.strip() or ast.get_docstring(ast.parse(text))


def test_no_module_is_named_for_nothing():
    forbidden = {"utils", "util", "helpers", "common", "misc", "base", "types"}
    assert not {relative(path) for path in SOURCES if path.stem in forbidden}


@pytest.mark.parametrize("root", ["operator", "services", "tests"])
def test_a_source_root_is_no_package(root: str):
    # A package named `operator` would take the place of the standard library's.
    assert not (ROOT / root / "__init__.py").exists()


def test_the_standard_librarys_operator_is_found_with_our_root_on_the_path():
    code = "import operator; print(operator.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": "."},
    )
    assert str(ROOT) not in found.stdout


def test_the_changelog_knows_this_version():
    assert f"## [{selfie.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_every_service_can_be_built_without_the_others_needs():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert not [name for name in project["dependencies"] if name.startswith(("torch", "trl", "kubernetes"))]
