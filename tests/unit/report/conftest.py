"""Makers of a small run that was never computed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reported_rows import make_run, pair, response
from reported_runs import ToyRun
from selfie.artifacts.store import Store, open_store
from selfie.runs.spec import SelfieRun


@pytest.fixture
def toy(tmp_path: Path) -> ToyRun:
    """An empty run to publish steps into."""
    return ToyRun(open_store((tmp_path / "runs" / "toy").as_uri()))


@pytest.fixture
def toy_at() -> Callable[[Store], ToyRun]:
    """Makes a run to publish steps into a store."""
    return ToyRun


@pytest.fixture
def run_of() -> Callable[..., SelfieRun]:
    """Makes the run's specification."""
    return make_run


@pytest.fixture
def pair_of() -> Callable[..., dict[str, Any]]:
    """Makes a row of a pair."""
    return pair


@pytest.fixture
def response_of() -> Callable[[str, str], dict[str, Any]]:
    """Makes a row of a scored response."""
    return response
