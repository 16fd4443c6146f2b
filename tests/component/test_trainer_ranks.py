"""A training that two processes share ends as one does, and goes on when one of them is killed."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from selfie.artifacts.exits import Exit
from selfie.artifacts.local_files import LocalFiles
from selfie.artifacts.manifests import Manifest, read_manifest
from selfie.artifacts.shards import read_group
from selfie.artifacts.store import Store
from selfie.training.trainer.program import train
from trainer_rounds import TRAIN_STEP, Run

# TRL 1.16 asks transformers by a name that is about to go.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]


@pytest.fixture
def run(tmp_path: Path, tiny_checkpoint: Path) -> Run:
    return Run(tmp_path, tiny_checkpoint)


@pytest.fixture
def start(run: Run) -> Iterator[Callable[..., "Pair"]]:
    """Starts two processes on one training, each as a node of its own."""
    begun: list[Pair] = []

    def starting(**changes: Any) -> Pair:
        begun.append(Pair(run, changes))
        return begun[-1]

    yield starting
    for pair in begun:
        pair.close()


class Pair:
    """Two nodes of one rank each, as two pods have them."""

    def __init__(self, run: Run, changes: dict[str, Any]) -> None:
        self.attempt = run.root / "store" / TRAIN_STEP / "a1"
        parameters = run.write_parameters(**changes)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.processes = [self._process(node, port, parameters) for node in (0, 1)]

    def _process(self, node: int, port: int, parameters: Path) -> "subprocess.Popen[bytes]":
        command = [
            *(sys.executable, "-m", "selfie.training.trainer.ranks"),
            *("--nodes", "2", "--node", str(node), "--ranks", "1", "--main", f"127.0.0.1:{port}"),
            *("--module", "selfie.training.trainer", "--parameters", str(parameters)),
        ]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "GLOO_SOCKET_IFNAME": "lo"}
        return subprocess.Popen(command, env=environment, start_new_session=True)

    def statuses(self) -> list[int]:
        return [process.wait(400) for process in self.processes]

    def until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 300
        while not holds():
            assert all(process.poll() is None for process in self.processes)
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def worker(self, node: int) -> int:
        """Number of the process that trains, below the one that starts it."""
        parent = self.processes[node].pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        (found,) = [int(child) for child in children if _is_trainer(child)]
        return found

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _is_trainer(pid: str) -> bool:
    return b"selfie.training.trainer\0" in Path(f"/proc/{pid}/cmdline").read_bytes()


def published(run: Run) -> Manifest:
    manifest = read_manifest(run.store, TRAIN_STEP)
    assert manifest is not None
    return manifest


def losses(run: Run, manifest: Manifest) -> list[float]:
    values: list[float] = read_group(run.store, manifest, "steps")["loss"].to_pylist()
    return values


# A step of ten pairs does not come out even: 24 pairs make two whole steps and a short one.
UNEVEN = {"batch": 10, "microBatch": 5, "epochs": 2}


@pytest.mark.parametrize("changes", [{}, UNEVEN, {"lambda": 0, "epochs": 2}], ids=str)
def test_two_ranks_end_as_one_does(run: Run, start: Callable[..., Pair], changes: dict[str, Any]) -> None:
    alone = run.train(step="rounds/01/alone", **changes)
    assert start(**changes).statuses() == [Exit.DONE, Exit.DONE]
    together = published(run)
    assert losses(run, together) == pytest.approx(losses(run, alone), abs=1e-4)
    logs = [read_group(run.store, manifest, "steps") for manifest in (together, alone)]
    for column in ("pairs", "noisy_rows", "step"):
        assert logs[0][column].to_pylist() == logs[1][column].to_pylist()
    thresholds = [[row or 0 for row in log["threshold"].to_pylist()] for log in logs]
    assert thresholds[0] == pytest.approx(thresholds[1], abs=1e-4)
    weights = [
        load_file(run.root / "store" / next(e.path for e in m.files if e.name == "model.safetensors"))
        for m in (together, alone)
    ]
    for name, value in weights[1].items():
        assert (weights[0][name] - value).abs().max() < 1e-4
    assert together.writer.count("-") == 0
    assert len(list((run.root / "store" / TRAIN_STEP / "a1").glob("checkpoint-*"))) == 1
    assert not list((run.root / "store" / TRAIN_STEP / "a1").glob("work-*"))


def test_a_rank_that_is_killed_ends_both_and_both_go_on_from_the_checkpoint(
    run: Run, start: Callable[..., Pair]
) -> None:
    changes = {"epochs": 40, "checkpointSeconds": 1e-6}
    alone = run.train(step="rounds/01/alone", epochs=40)
    pair = start(**changes)
    pair.until(lambda: len(list(pair.attempt.glob("work-*/checkpoint-*/selfie.json"))) >= 2)
    os.kill(pair.worker(1), signal.SIGKILL)
    main, killed = pair.statuses()
    assert (main, killed) == (Exit.PEERS_LOST, Exit.KILLED)
    assert not (pair.attempt / "error.json").exists()
    assert read_manifest(run.store, TRAIN_STEP) is None
    assert start(**changes).statuses() == [Exit.DONE, Exit.DONE]
    together = published(run)
    assert together.measures["pairs_per_second"] * together.measures["seconds"] < 40 * 24
    assert losses(run, together) == pytest.approx(losses(run, alone), abs=1e-4)


def test_a_request_to_stop_that_one_rank_gets_is_obeyed_by_both(run: Run, start: Callable[..., Pair]) -> None:
    pair = start(epochs=400)
    pair.until(lambda: (pair.attempt / "progress.json").exists() and run.progress()["done"] >= 2)
    pair.processes[1].terminate()
    assert pair.statuses() == [Exit.TERMINATED, Exit.TERMINATED]
    (checkpoint,) = pair.attempt.glob("work-*/checkpoint-*/selfie.json")
    assert (checkpoint.parent / "rank-1-selfie.json").exists()


class RemoteStore(Store):
    """A store that is somewhere else."""

    def local_path(self, path: str) -> Path | None:
        return None


def after(steps: int) -> Callable[[], bool]:
    asked = iter([False] * (steps - 1) + [True])
    return lambda: next(asked)


def remote(run: Run) -> Store:
    return RemoteStore(run.store.uri, LocalFiles(run.root / "store"))


def is_list(path: str) -> bool:
    """Whether the file says what a checkpoint consists of."""
    return path.rpartition("/")[2].startswith("checkpoint-") and path.endswith(".json")


def test_another_node_goes_on_from_the_store(run: Run) -> None:
    undisturbed = run.train(step="rounds/01/undisturbed")
    store = remote(run)
    with pytest.raises(SystemExit):
        train(store, run.parameters(cacheDir=f"{run.root}/one"), stopping=after(3))
    kept = [path for path in store.list(f"{TRAIN_STEP}/a1/checkpoints") if is_list(path)]
    assert [path.rpartition("/")[2].split("-")[1] for path in kept] == ["3"]
    removals: list[Callable[[], None]] = []
    other = run.parameters(cacheDir=f"{run.root}/other")
    manifest = train(store, other, stopping=lambda: False, discard=removals.append)
    assert manifest.measures["pairs_per_second"] * manifest.measures["seconds"] < 40
    assert _sha(manifest) == _sha(undisturbed)
    for remove in removals:
        remove()
    assert store.list(f"{TRAIN_STEP}/a1/checkpoints") == []


def test_a_checkpoint_that_did_not_arrive_whole_is_passed_over(run: Run) -> None:
    undisturbed = run.train(step="rounds/01/undisturbed")
    store = remote(run)
    parameters = run.parameters(cacheDir=f"{run.root}/one", checkpointSeconds=1e-6)
    with pytest.raises(SystemExit):
        train(store, parameters, stopping=after(4))
    kept = [path for path in store.list(f"{TRAIN_STEP}/a1/checkpoints") if is_list(path)]
    assert [int(path.rpartition("/")[2].split("-")[1]) for path in kept] == [3, 4]
    newest = kept[-1].removesuffix(".json")
    store.write(f"{newest}/model.safetensors", b"torn")
    manifest = train(store, run.parameters(cacheDir=f"{run.root}/other"), stopping=lambda: False)
    assert _sha(manifest) == _sha(undisturbed)


def _sha(manifest: Manifest) -> str:
    return next(entry.sha256 for entry in manifest.files if entry.name == "model.safetensors")
