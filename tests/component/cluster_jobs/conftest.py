"""A run of its own for each test."""

from pathlib import Path

import pytest

from job_worlds import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)
