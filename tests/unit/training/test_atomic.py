"""What makes a checkpoint whole, while other ranks still write into it."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from selfie.training.trainer.atomic import write_last


@pytest.fixture
def another_rank(tmp_path: Path) -> Iterator[None]:
    """Puts files into place under a name of their own first, as fast as it can."""
    ended = threading.Event()

    def write() -> None:
        while not ended.is_set():
            partial = tmp_path / ".partial"
            partial.write_text("weights")
            partial.replace(tmp_path / "weights")

    writing = threading.Thread(target=write)
    writing.start()
    yield
    ended.set()
    writing.join()


@pytest.mark.usefixtures("another_rank")
def test_a_file_that_another_rank_moves_into_place_is_no_obstacle(tmp_path: Path) -> None:
    for number in range(300):
        write_last(tmp_path / "state.json", str(number))
    assert (tmp_path / "state.json").read_text() == "299"
    assert not (tmp_path / "state.partial").exists()
