"""Where a run lies on this machine, and how it is found again."""

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from selfie.artifacts.run_files import (
    RUN_FILE,
    identify,
    read_run,
    read_status,
    write_run,
    write_status,
)
from selfie.artifacts.store import Store, open_store
from selfie.errors import FailedPrecondition, InvalidInput
from selfie.runs.changes import changed_immutable_fields
from selfie.runs.relocating import with_sources
from selfie.runs.spec import SelfieRun
from selfie.runs.status import RunStatus

DEFAULT_ARTIFACTS = Path("runs")


@dataclass(frozen=True)
class LocalRun:
    """A run on this machine: what it is, its store, and its directory for processes and caches."""

    run: SelfieRun
    uid: str
    store: Store
    scratch: Path

    @property
    def uri(self) -> str:
        """Root of the run in the artifact store."""
        return self.store.uri

    def read_status(self) -> RunStatus:
        """What the last look at the run found; empty for a run that nobody has looked at."""
        return read_status(self.store)

    def write_status(self, status: RunStatus) -> None:
        """Keeps what this look found."""
        write_status(self.store, status)


def artifacts_uri(given: str | None, run: SelfieRun) -> str:
    """The folder of all runs: what was asked for, what the run says, or ``runs/`` here."""
    uri = given or run.spec.artifacts.uri or str(DEFAULT_ARTIFACTS)
    return uri if "://" in uri else Path(uri).resolve().as_uri()


def with_absolute_sources(run: SelfieRun, folder: Path) -> SelfieRun:
    """The run with its relative data sets and models made absolute; they are relative to its file."""

    def absolute(_field: str, uri: str) -> str:
        # As a URI, because a specification takes no blanks, and a folder may have some.
        return uri if "://" in uri else (folder / uri).resolve().as_uri()

    return with_sources(run, absolute)


def open_run(run: SelfieRun, artifacts: str) -> LocalRun:
    """The run in its place: a new one, or the one that is there, with the fields that may change changed.

    Raises InvalidInput, which names the field, where the one that is there is another run.
    """
    store = open_store(f"{artifacts}/{run.metadata.name}")
    scratch = scratch_of(store, run)
    uid = identify(store, str(uuid.uuid4()))
    if store.exists(RUN_FILE):
        _refuse_other_run(read_run(store), run, store)
    write_run(store, run)
    return LocalRun(run, uid, store, scratch)


def directory_of(store: Store) -> Path | None:
    """The run's root as a directory of this machine; None in an object store."""
    file = store.local_path(RUN_FILE)
    return file.parent if file else None


def weights_cache(scratch: Path) -> Path:
    """Where a run keeps checkpoints that its processes have loaded, by their digests."""
    return scratch / "cache" / "weights"


def forget(cache: Path, digests: Iterable[str]) -> None:
    """Removes weights from a cache of checkpoints; its links would keep their bytes on the disk.

    Each is renamed first, so that nobody finds half of one.
    """
    for digest in digests:
        going = cache / f".{digest}-{uuid.uuid4().hex}"
        try:
            (cache / digest).rename(going)
        except FileNotFoundError:
            continue
        shutil.rmtree(going)


@contextmanager
def opened(run: SelfieRun, artifacts: str) -> Iterator[LocalRun]:
    """`open_run`, with the run held for this process from before it is looked at until the end."""
    store = open_store(f"{artifacts}/{run.metadata.name}")
    with locked(scratch_of(store, run), store.uri):
        yield open_run(run, artifacts)


@contextmanager
def locked(scratch: Path, uri: str) -> Iterator[None]:
    """Holds a run for this process; two at once would start everything twice."""
    scratch.mkdir(parents=True, exist_ok=True)
    with (scratch / "lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise FailedPrecondition(
                "AlreadyRunning",
                f"process {file.read().strip() or '?'} works on {uri}; wait for it, or stop it",
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def scratch_of(store: Store, run: SelfieRun) -> Path:
    """The run's directory on this machine for processes and caches."""
    # Beside the artifacts where that is a disk, so that weights are linked and not copied.
    if directory := directory_of(store):
        return directory / ".local"
    return Path("~/.cache/selfie/runs").expanduser() / run.metadata.name


def _refuse_other_run(old: SelfieRun, new: SelfieRun, store: Store) -> None:
    changed = changed_immutable_fields(old.spec, new.spec, terminal=read_status(store).is_terminal)
    if changed:
        raise InvalidInput(
            changed[0],
            f"differs from the run that is at {store.uri} ({', '.join(changed)})",
            "give the run another metadata.name, use another --artifacts, or delete that directory",
        )
