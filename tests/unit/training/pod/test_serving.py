"""The first process of a pod, around a program that stands in for the real ones."""

import hashlib
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from selfie.artifacts.exits import Exit
from selfie.artifacts.manifests import publish
from selfie.artifacts.programs import Attempt
from selfie.artifacts.starts import Start, count
from selfie.artifacts.store import Store, open_store
from selfie.errors import DataCorrupted
from selfie.training.logs import LOG_BYTES
from selfie.training.pod.duty import Duty
from selfie.training.pod.serving import Pod, serve
from selfie.training.pod.supervision import supervised
from selfie.training.pod.tails import Tail
from training_runs import NOW

STEP = "rounds/01/train"
PATH = f"{STEP}/a1"

# Does what its parameters say, and tells what it found.
PROGRAM = """
import json, os, sys
parameters = json.load(open(sys.argv[sys.argv.index("--parameters") + 1]))
for name in ("OMP_NUM_THREADS", "SELFIE_POD_UID"):
    print(name, os.environ.get(name))
print(parameters["say"])
sys.exit(parameters["status"])
"""


class World:
    """An attempt with its parameters, and pods that serve it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = open_store(f"file://{root}/run")
        self.attempt = Attempt(run_uri=self.store.uri, step=STEP, number=1, run_uid="u")
        (root / "toy_program.py").write_text(PROGRAM)

    def told(self, status: int = 0, say: str = "hello") -> str:
        """Digest of the parameters that lie in the attempt."""
        data = json.dumps({"status": status, "say": say}).encode()
        self.store.write(f"{PATH}/parameters.json", data)
        return hashlib.sha256(data).hexdigest()

    def serve(self, digest: str, uid: str = "pod-1", attempt: int = 1, **environment: str) -> int:
        duty = Duty("train", self.store.uri, STEP, attempt, digest)
        variables = {**os.environ, "PYTHONPATH": str(self.root), "SELFIE_POD_UID": uid, **environment}
        variables.pop("OMP_NUM_THREADS") if "SELFIE_CPUS" in environment else None
        pod = Pod(variables, scratch=self.root, upload_every_s=0.05)
        return serve(self.store, duty, pod, {"train": "toy_program"})

    def log(self, name: str = "log.txt") -> str:
        return self.store.read(f"{PATH}/{name}").decode()

    def publish(self) -> None:
        publish(self.store, self.attempt.manifest(writer="w", started_at=NOW))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_pod_fetches_what_it_is_told_runs_the_program_and_keeps_its_log(
    world: World, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert world.serve(world.told(say="done")) == 0
    assert world.log().splitlines()[-1] == "done"
    assert "SELFIE_POD_UID pod-1" in world.log()
    start = Start.model_validate_json(world.store.read(f"{PATH}/starts/00-0001.json"))
    assert (start.uid, start.number, start.node) == ("pod-1", 1, 0)


@pytest.mark.parametrize("status", [Exit.CRASHED, Exit.INVALID_INPUT, Exit.FAILED, Exit.SUPERSEDED, 77])
def test_the_programs_status_is_the_pods(world: World, status: int) -> None:
    assert world.serve(world.told(status)) == status


def test_parameters_that_the_job_is_not_for_are_refused(world: World) -> None:
    digest = world.told()
    world.told(say="something else")
    with pytest.raises(DataCorrupted, match="the Job is for"):
        world.serve(digest)


def test_a_published_step_needs_no_pod(world: World) -> None:
    digest = world.told(status=1)
    world.publish()
    assert world.serve(digest) == Exit.DONE
    assert count(world.store, PATH) == 0


def test_a_pod_of_an_earlier_attempt_ends_before_it_begins(world: World) -> None:
    digest = world.told()
    world.store.write(f"{STEP}/a2/job.json", b"{}")
    assert world.serve(digest) == Exit.OUTDATED
    assert count(world.store, PATH) == 0


def test_every_pod_counts_as_a_start_and_the_log_goes_on(world: World) -> None:
    world.serve(world.told(status=1, say="out of luck"), uid="pod-1")
    world.serve(world.told(say="better"), uid="pod-2")
    assert count(world.store, PATH) == 2
    lines = world.log().splitlines()
    assert (
        lines.index("out of luck")
        < lines.index(f"--- start 2 on {os.uname().nodename}")
        < lines.index("better")
    )


def test_an_error_of_an_earlier_start_is_not_this_ones(world: World) -> None:
    world.store.write(f"{PATH}/error.json", b"{}")
    world.serve(world.told())
    assert not world.store.exists(f"{PATH}/error.json")


def test_each_node_has_a_log_and_starts_of_its_own(world: World) -> None:
    world.store.write(f"{PATH}/error.json", b"{}")
    world.serve(world.told(say="from the second"), uid="pod-2", JOB_COMPLETION_INDEX="1")
    assert "from the second" in world.log("log-1.txt")
    assert not world.store.exists(f"{PATH}/log.txt")
    assert world.store.exists(f"{PATH}/starts/01-0001.json")
    # The first node's word stands, whoever starts after it.
    assert world.store.exists(f"{PATH}/error.json")


def test_threads_are_as_many_as_the_pod_may_use(world: World) -> None:
    world.serve(world.told(), SELFIE_CPUS="3")
    assert "OMP_NUM_THREADS 3" in world.log()


def test_threads_that_were_set_stay(world: World) -> None:
    world.serve(world.told(), OMP_NUM_THREADS="1")
    assert "OMP_NUM_THREADS 1" in world.log()


def test_several_ranks_are_started_by_what_starts_ranks() -> None:
    duty = Duty("train", "s3://bucket/run", STEP, 1, "0" * 64, nodes=2, ranks=4, main="first:29500")
    command = duty.command(Path("/parameters.json"), node=1, modules={"train": "the.program"})
    assert command == [
        *(sys.executable, "-m", "selfie.training.trainer.ranks"),
        *("--nodes", "2", "--node", "1", "--ranks", "4", "--main", "first:29500"),
        *("--module", "the.program", "--parameters", "/parameters.json"),
    ]


def test_a_log_in_the_store_is_never_long(world: World) -> None:
    tail = Tail(world.store, f"{PATH}/log.txt", "start 1")
    for number in range(20_000):
        tail.write(f"line {number}\n".encode())
    tail.upload()
    data = world.store.read(f"{PATH}/log.txt")
    assert len(data) == LOG_BYTES
    assert data.endswith(b"line 19999\n")


class AwayStore(Store):
    """A store that is away until it is said to be back."""

    away = True

    def write(self, path: str, data: bytes) -> None:
        if self.away:
            from selfie.errors import Unavailable

            raise Unavailable("away")
        super().write(path, data)


def test_a_log_that_could_not_be_stored_is_stored_at_the_next_try(world: World) -> None:
    store = AwayStore(world.store.uri, world.store._files)
    tail = Tail(store, f"{PATH}/log.txt", "start 1")
    tail.write(b"the end\n")
    tail.upload()
    store.away = False
    tail.upload()
    assert world.log() == "the end\n"


def supervise(world: World, script: str, **arguments: Any) -> tuple[int, str]:
    tail = Tail(world.store, f"{PATH}/log.txt", "start 1")
    command = [sys.executable, "-u", "-c", script]
    status = supervised(command, os.environ, tail, upload_every_s=arguments.get("upload_every_s", 0.05))
    return status, world.log()


STOPPABLE = """
import signal, sys, time
def stop(*_):
    print("a checkpoint is made")
    sys.exit(143)
signal.signal(signal.SIGTERM, stop)
print("ready")
time.sleep(60)
"""


def test_a_request_to_stop_reaches_the_program_which_has_its_say(world: World) -> None:
    def ask_once_it_is_ready() -> None:
        while not world.store.exists(f"{PATH}/log.txt") or "ready" not in world.log():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    asking = threading.Thread(target=ask_once_it_is_ready, daemon=True)
    asking.start()
    status, log = supervise(world, STOPPABLE)
    assert status == Exit.TERMINATED
    assert log.splitlines() == ["ready", "a checkpoint is made"]
    asking.join()


def test_a_program_that_was_killed_ends_as_a_shell_would_say(world: World) -> None:
    status, _ = supervise(world, "import os, signal; print('x'); os.kill(os.getpid(), signal.SIGKILL)")
    assert status == Exit.KILLED
