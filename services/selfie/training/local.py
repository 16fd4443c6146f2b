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
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from selfie.artifacts.programs import Attempt
from selfie.artifacts.store import Store
from selfie.errors import NotFound, Unavailable
from selfie.training.records import JobRecord, ProcessId, ProgramName

COMMANDS: Mapping[ProgramName, Sequence[str]] = {
    "prepare": (sys.executable, "-m", "selfie.prepare"),
    "train": (sys.executable, "-m", "selfie.training.trainer"),
    "publish": (sys.executable, "-m", "selfie.publish"),
}
LOG_FILE = "log.txt"
_POLL_SECONDS = 0.05

_ENVIRONMENT = {
    "PYTHONUNBUFFERED": "1",
    # Progress bars are made for terminals; these are read when the libraries are imported.
    "TQDM_DISABLE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    # glibc gives every large block back to the kernel, and a training on CPUs then spends its time on
    # page faults: 1.4 to 2.4 times as long.
    "MALLOC_MMAP_THRESHOLD_": str(4 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
    "MALLOC_TOP_PAD_": str(256 << 20),
}


class LocalProcesses:
    """Starts, watches and stops the programs; used from many threads.

    ``scratch`` holds locks, and the files of attempts whose store is no directory.
    """

    def __init__(
        self,
        *,
        scratch: Path,
        grace_seconds: float = 20,
        commands: Mapping[ProgramName, Sequence[str]] = COMMANDS,
    ) -> None:
        self._scratch = scratch
        self._grace_seconds = grace_seconds
        self._commands = commands

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
        with log.open("ab") as output:
            child = subprocess.Popen(
                [*self._commands[record.program], "--parameters", str(parameters)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**_ENVIRONMENT, **_offline(record.program), **os.environ},
            )
        # Read before anybody waits for the child: until then its number is not given to another process.
        birth = process_birth(child.pid) or "ended at once"
        threading.Thread(target=self._see_off, args=(store, attempt, child), daemon=True).start()
        return ProcessId(pid=child.pid, birth=birth)

    def is_alive(self, process: ProcessId) -> bool:
        """Whether this very process is still at work, whoever started it."""
        return process_birth(process.pid) == process.birth

    def terminate(self, process: ProcessId) -> None:
        """Ends the process and all that it has started: asks first, and insists after the grace time."""
        for signum in (signal.SIGTERM, signal.SIGKILL):
            if self._signal(process, signum) and not self._outlives(process, self._grace_seconds):
                break

    def log_tail(self, store: Store, attempt: Attempt, lines: int) -> str:
        """The last lines of the attempt's log; empty without one."""
        path = self._log(store, attempt)
        try:
            data = path.read_bytes() if path.exists() else store.read(f"{attempt.path}/{LOG_FILE}")
        except NotFound:
            return ""
        return "\n".join(data.decode(errors="replace").splitlines()[-lines:])

    def _see_off(self, store: Store, attempt: Attempt, child: subprocess.Popen[bytes]) -> None:
        child.wait()
        log = self._log(store, attempt)
        if store.local_path(LOG_FILE) is None:
            with suppress(Unavailable):  # the log stays on this machine, where `log_tail` finds it
                store.upload(log, f"{attempt.path}/{LOG_FILE}", keep_source=True)

    def _signal(self, process: ProcessId, signum: signal.Signals) -> bool:
        if not self.is_alive(process):
            return False
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signum)
        return True

    def _outlives(self, process: ProcessId, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.is_alive(process):
            if time.monotonic() > deadline:
                return True
            time.sleep(_POLL_SECONDS)
        return False

    def _log(self, store: Store, attempt: Attempt) -> Path:
        return store.local_path(f"{attempt.path}/{LOG_FILE}") or self._place(attempt, LOG_FILE)

    def _place(self, attempt: Attempt, name: str) -> Path:
        """A file of the attempt on this machine, in a directory that exists."""
        key = hashlib.sha256(f"{attempt.run_uri} {attempt.path}".encode()).hexdigest()[:32]
        directory = self._scratch / key
        directory.mkdir(parents=True, exist_ok=True)
        return directory / name


def _offline(program: ProgramName) -> Mapping[str, str]:
    """After prepare nothing is fetched from outside, so nothing may be asked for there."""
    return {} if program == "prepare" else {"HF_HUB_OFFLINE": "1"}


def process_birth(pid: int) -> str | None:
    """When the process was born, as boot and clock ticks since; None if it has ended."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, in brackets, may hold anything; the state and the 22nd field come after it.
    fields = status.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else f"{boot}/{fields[19]}"
