"""What several of these need: an attempt and the store of its run, and an API server of accounts."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from identities import Identities
from selfie.artifacts.store import Store, open_store
from selfie.v1 import artifacts_pb2
from toy_operations import STEP


@pytest.fixture
def attempt(tmp_path: Path) -> artifacts_pb2.Attempt:
    return artifacts_pb2.Attempt(run_uri=f"file://{tmp_path}/run", step=STEP, number=1, run_uid="uid-1")


@pytest.fixture
def store(attempt: artifacts_pb2.Attempt) -> Store:
    return open_store(attempt.run_uri)


@pytest.fixture
async def identities(tmp_path: Path) -> AsyncIterator[Identities]:
    directory = tmp_path / "credentials"
    directory.mkdir()
    async with Identities(directory) as found:
        yield found
