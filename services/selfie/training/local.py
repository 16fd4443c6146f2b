"""Jobs as processes of this machine, which outlive the controller that started them.

A process is known by its number and the moment of its birth, both read from ``/proc``, so that a
controller that was restarted finds the processes of its predecessor and never mistakes another
one for them. Controllers on one machine exclude each other by a file lock, which no crash leaves
behind.
"""

import fcntl
import hashlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from selfie.artifacts.programs import Attempt
from selfie.artifacts.store import Store
from selfie.errors import NotFound, Unavailable
from selfie.processes.births import Born
from selfie.processes.spawning import Interpreter, Order, Spawner
from selfie.runs.programs import ProgramName
from selfie.training.logs import LOG_FILE
from selfie.training.programs import MODULES, OFFLINE, WITH_A_MODEL, environment
from selfie.training.records import JobRecord, ProcessId

_POLL_SECONDS = 0.05


class LocalProcesses:
    """Starts, watches and stops the programs; used from many threads.

    ``scratch`` holds locks, and the files of attempts whose store is no directory.
    """

    def __init__(
        self,
        *,
        scratch: Path,
        grace_seconds: float = 20,
        modules: Mapping[ProgramName, str] = MODULES,
        nursery: Spawner | None = None,
    ) -> None:
        self._scratch = scratch
        self._grace_seconds = grace_seconds
        self._modules = modules
        self._interpreter = Interpreter()
        self._nursery = nursery or self._interpreter

    @contextmanager
    def exclusive(self, attempt: Attempt) -> Iterator[None]:
        """Nobody else on this machine starts or stops a process of the attempt meanwhile."""
        path = self._place(attempt, "lock")
        with path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def launch(self, store: Store, record: JobRecord) -> ProcessId:
        """Starts the job's program in a session of its own, its output at the end of the attempt's log."""
        attempt = record.attempt
        parameters = self._place(attempt, "parameters.json")
        parameters.write_text(json.dumps(record.parameters))
        log = self._log(store, attempt)
        log.parent.mkdir(parents=True, exist_ok=True)
        arguments = ("--parameters", str(parameters))
        order = Order(self._modules[record.program], arguments, log, _unset(environment(record.program)))
        # The nursery has imported what a model needs, offline; `prepare` is the one that fetches.
        spawner = self._nursery if record.program in WITH_A_MODEL else self._interpreter
        born = spawner.spawn(order)
        threading.Thread(target=self._see_off, args=(store, attempt, born), daemon=True).start()
        return ProcessId(pid=born.pid, birth=born.birth)

    def is_alive(self, process: ProcessId) -> bool:
        """Whether this very process is still at work, whoever started it."""
        return Born(process.pid, process.birth).is_alive

    def terminate(self, process: ProcessId) -> None:
        """Ends the process and all that it has started: asks first, and insists after the grace time."""
        for signum in (signal.SIGTERM, signal.SIGKILL):
            born = Born(process.pid, process.birth)
            if born.send(signum) and not _outlives(born, self._grace_seconds):
                break

    def log_tail(self, store: Store, attempt: Attempt, lines: int) -> str:
        """The last lines of the attempt's log; empty without one."""
        path = self._log(store, attempt)
        try:
            data = path.read_bytes() if path.exists() else store.read(f"{attempt.path}/{LOG_FILE}")
        except NotFound:
            return ""
        return "\n".join(data.decode(errors="replace").splitlines()[-lines:])

    def _see_off(self, store: Store, attempt: Attempt, born: Born) -> None:
        """Keeps the log of a process that has ended where every controller can read it."""
        if store.local_path(LOG_FILE) is not None:
            return
        while born.is_alive:
            time.sleep(_POLL_SECONDS)
        with suppress(Unavailable):  # the log stays on this machine, where `log_tail` finds it
            store.upload(self._log(store, attempt), f"{attempt.path}/{LOG_FILE}", keep_source=True)

    def _log(self, store: Store, attempt: Attempt) -> Path:
        return store.local_path(f"{attempt.path}/{LOG_FILE}") or self._place(attempt, LOG_FILE)

    def _place(self, attempt: Attempt, name: str) -> Path:
        """A file of the attempt on this machine, in a directory that exists."""
        key = hashlib.sha256(f"{attempt.run_uri} {attempt.path}".encode()).hexdigest()[:32]
        directory = self._scratch / key
        directory.mkdir(parents=True, exist_ok=True)
        return directory / name


def _unset(wanted: Mapping[str, str]) -> Mapping[str, str]:
    """What is not set already; whether a program may ask outside is no matter of taste."""
    return {name: value for name, value in wanted.items() if name not in os.environ or name == OFFLINE}


def _outlives(born: Born, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while born.is_alive:
        if time.monotonic() > deadline:
            return True
        time.sleep(_POLL_SECONDS)
    return False
