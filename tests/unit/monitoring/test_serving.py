"""The one address of a local run."""

import json
import urllib.request

import pytest

from selfie.errors import InvalidInput
from selfie.monitoring.boards import RunBoard
from selfie.monitoring.serving import COMPONENT, served
from selfie.monitoring.sights import RunName


def read(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return answer.read().decode()


def test_one_port_tells_of_the_run_and_of_where_its_processes_are(status_of):
    board = RunBoard()
    board.tell(RunName("local", "toy"), status_of())
    addresses = {"engine": "127.0.0.1:5"}
    with served(board, lambda: addresses, 0) as port:
        assert 'selfie_run_info{namespace="local"' in read(port, "/metrics")
        assert json.loads(read(port, "/targets")) == [
            {"targets": ["127.0.0.1:5"], "labels": {COMPONENT: "engine"}},
            {"targets": [f"127.0.0.1:{port}"], "labels": {COMPONENT: "run"}},
        ]
        addresses.clear()
        assert len(json.loads(read(port, "/targets"))) == 1


def test_a_port_that_is_taken_is_told_with_the_way_out():
    with (
        served(RunBoard(), dict, 0) as port,
        pytest.raises(InvalidInput, match="--metrics-port"),
        served(RunBoard(), dict, port),
    ):
        pass
