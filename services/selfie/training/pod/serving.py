"""From the start of a pod to its end: record the start, fetch what to do, do it, keep the log's end.

Parameters come out of the attempt's directory, not in the pod's arguments or a ConfigMap: what a
program is told stands beside what it has made of it, has no size limit, and is gone with the run. The
Job names their digest, so nobody who can write there can have a pod do something else.
"""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from selfie.artifacts.digests import digest_bytes
from selfie.artifacts.exits import Exit
from selfie.artifacts.manifests import read_manifest
from selfie.artifacts.programs import ERROR_FILE, new_writer
from selfie.artifacts.starts import POD_UID, begin, later_attempt, start_uid
from selfie.artifacts.store import Store
from selfie.errors import DataCorrupted
from selfie.runs.programs import ProgramName
from selfie.training.logs import log_file
from selfie.training.pod.duty import Duty
from selfie.training.pod.supervision import supervised
from selfie.training.pod.tails import Tail
from selfie.training.programs import MODULES

INDEX = "JOB_COMPLETION_INDEX"
"""Variable in which Kubernetes tells a pod of an indexed Job its number."""

CPUS = "SELFIE_CPUS"
"""Variable with the cores that the pod may use, by the downward API."""

log = structlog.get_logger()


@dataclass(frozen=True)
class Pod:
    """This pod: its environment, a directory for files, and how often it brings its log to the store."""

    environment: Mapping[str, str]
    scratch: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="selfie-pod-")))
    upload_every_s: float = 30

    @classmethod
    def of_this_process(cls) -> "Pod":
        """The pod that this process is the first of."""
        return cls(dict(os.environ))

    @property
    def uid(self) -> str:
        """Its UID; of a process in no pod, a name that no other has."""
        return start_uid(self.environment, "")

    @property
    def node(self) -> int:
        """Which of the pods that work together it is, from 0."""
        return int(self.environment.get(INDEX, "0"))


def serve(store: Store, duty: Duty, pod: Pod, modules: Mapping[ProgramName, str] = MODULES) -> int:
    """Runs the program and returns its exit status, or why it need not run."""
    if read_manifest(store, duty.step) is not None:
        return Exit.DONE
    later = later_attempt(store, duty.step, duty.attempt)
    if later is not None:
        log.warning("a later attempt has begun", attempt=later)
        return Exit.OUTDATED
    uid = pod.uid or new_writer()
    start = begin(store, duty.path, uid=uid, node=pod.node)
    log.info("started", start=start.number, node=start.node, step=duty.step, attempt=duty.attempt)
    parameters = _parameters(store, duty, pod.scratch)
    if pod.node == 0:
        # What an earlier start has left, and died before the Job took note of it, is not this one's.
        store.delete(f"{duty.path}/{ERROR_FILE}")
    tail = Tail(store, f"{duty.path}/{log_file(pod.node)}", f"start {start.number} on {start.host}")
    environment = {**pod.environment, **_threads(pod, duty), POD_UID: uid}
    command = duty.command(parameters, node=pod.node, modules=modules)
    return supervised(command, environment, tail, upload_every_s=pod.upload_every_s)


def _parameters(store: Store, duty: Duty, directory: Path) -> Path:
    data = store.read(duty.parameters_path)
    found = digest_bytes(data).sha256
    if found != duty.parameters_sha256:
        raise DataCorrupted(
            f"{store.uri}/{duty.parameters_path} has the SHA-256 {found}, and the Job is for "
            f"{duty.parameters_sha256}; delete the Job"
        )
    file = directory / "parameters.json"
    file.write_bytes(data)
    return file


def _threads(pod: Pod, duty: Duty) -> dict[str, str]:
    """Threads for each rank: torch would take the node's cores, whatever the pod may use of them."""
    if "OMP_NUM_THREADS" in pod.environment or CPUS not in pod.environment:
        return {}
    return {"OMP_NUM_THREADS": str(max(int(pod.environment[CPUS]) // duty.ranks, 1))}
