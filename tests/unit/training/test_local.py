"""Processes whose artifact store is no directory of this machine keep their log all the same."""

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from selfie.artifacts.local_files import LocalFiles
from selfie.artifacts.programs import Attempt
from selfie.artifacts.store import Store
from selfie.training.local import LocalProcesses
from selfie.training.records import JobRecord

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class RemoteStore(Store):
    """A store that is somewhere else."""

    def local_path(self, path: str) -> Path | None:
        return None


def test_the_log_is_uploaded_when_the_process_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RemoteStore("s3://bucket/run", LocalFiles(tmp_path / "bucket"))
    attempt = Attempt(run_uri=store.uri, step="rounds/01/train", number=1, run_uid="u")
    record = JobRecord(
        request_id="r", program="train", attempt=attempt, parameters={"n": 5}, created_at=NOW, changed_at=NOW
    )
    script = "import json, sys; print('n is', json.load(open(sys.argv[-1]))['n'])"
    (tmp_path / "toy_trainer.py").write_text(script)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    processes = LocalProcesses(scratch=tmp_path / "scratch", modules={"train": "toy_trainer"})
    processes.launch(store, record)
    while not store.exists(f"{attempt.path}/log.txt"):
        time.sleep(0.01)
    assert store.read(f"{attempt.path}/log.txt") == b"n is 5\n"
    assert processes.log_tail(store, attempt, 20) == "n is 5"
    elsewhere = LocalProcesses(scratch=tmp_path / "another machine")
    assert elsewhere.log_tail(store, attempt, 20) == "n is 5"
