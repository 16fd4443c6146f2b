"""A server that says what the test wants, and a port where nobody listens."""

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from scripted_server import Server, serving


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(tmp_path) as found:
        yield found


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]
