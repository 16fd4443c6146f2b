"""The way from a clone to a finished run on one machine, by README's own commands."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from documented import ROOT, of_section
from newcomer import Newcomer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(5400)]
README = (ROOT / "README.md").read_text()
PLACES = {"FILE": "examples/quickstart.yaml", "RUN…": "quickstart", "RUN": "quickstart", "DIR": "best"}
STAYS = re.compile(r"selfie serve")
"""What goes on until it is ended is tried with `docs/scorer.md`."""


def commands_of_the_table() -> Iterator[str]:
    """Those that README has one row for, without what may be left out, on the run of the demo."""
    for command in re.findall(r"^\| `(selfie [^`]+)` \|", README, re.MULTILINE):
        if not STAYS.match(command):
            text = re.sub(r" \[(?!--dry-run)[^\[\]]*(\[[^\]]*\])?\]", "", command)
            text = text.replace("[--dry-run]", "--dry-run")
            for place, its_name in PLACES.items():
                text = re.sub(rf"\b{place}(?!\w)", its_name, text)
            yield text


@dataclass(frozen=True)
class Way:
    """What was printed."""

    newcomer: Newcomer
    demo: str
    again: str


@pytest.fixture(scope="module")
def way(tmp_path_factory: pytest.TempPathFactory) -> Way:
    """From the clone on; the environment is made by the first command."""
    newcomer = Newcomer.with_clone(tmp_path_factory.mktemp("newcomer"))
    [demo] = of_section("README.md", "Try it")
    first = newcomer.types(demo, seconds=3600)
    again = newcomer.types(demo)
    path = f"{newcomer.clone}/.venv/bin{os.pathsep}{newcomer.environment['PATH']}"
    return Way(Newcomer(newcomer.clone, {**newcomer.environment, "PATH": path}), first, again)


def test_the_demo_ends_with_the_place_of_its_report(way: Way) -> None:
    page = Path(way.demo.splitlines()[-1])
    assert page.is_file()
    assert page.is_relative_to(way.newcomer.clone)
    assert "all 2 rounds are published" in way.demo


def test_the_same_command_again_shows_the_same_report(way: Way) -> None:
    assert way.again.splitlines()[-1] == way.demo.splitlines()[-1]


@pytest.mark.parametrize("command", list(commands_of_the_table()))
def test_each_command_of_the_table_does_something_with_the_run(way: Way, command: str) -> None:
    assert way.newcomer.types(command)


def test_what_it_made_can_be_read_as_it_is_said(way: Way) -> None:
    [block] = re.findall(r"```python\n(import json\nimport pandas.*?)```", README, re.DOTALL)
    (way.newcomer.clone / "read.py").write_text(f"{block}\nassert 0 < len(pairs) <= 32\n")
    way.newcomer.types("python read.py")
