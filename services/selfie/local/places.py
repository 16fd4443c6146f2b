"""Where a run lies on this machine, and how it is found again."""

import fcntl
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from selfie.artifacts.store import Store, open_store
from selfie.errors import FailedPrecondition, InvalidInput, NotFound
from selfie.runs.changes import changed_immutable_fields
from selfie.runs.load import dump_run, parse_run
from selfie.runs.spec import SelfieRun
from selfie.runs.status import RunStatus, object_of_status, status_from_object

DEFAULT_ARTIFACTS = Path("runs")
_RUN_FILE, _IDENTITY_FILE, _STATUS_FILE = "run.yaml", "run.json", "status.json"


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
        data = json.dumps(object_of_status(status), indent=2, sort_keys=True)
        self.store.write(_STATUS_FILE, data.encode())


def artifacts_uri(given: str | None, run: SelfieRun) -> str:
    """The folder of all runs: what was asked for, what the run says, or ``runs/`` here."""
    uri = given or run.spec.artifacts.uri or str(DEFAULT_ARTIFACTS)
    return uri if "://" in uri else Path(uri).resolve().as_uri()


def with_absolute_sources(run: SelfieRun, folder: Path) -> SelfieRun:
    """The run with its relative data sets and models made absolute; they are relative to its file."""

    def absolute(uri: str) -> str:
        # As a URI, because a specification takes no blanks, and a folder may have some.
        return uri if "://" in uri else (folder / uri).resolve().as_uri()

    spec = run.spec
    changes: dict[str, object] = {"model": spec.model.model_copy(update={"uri": absolute(spec.model.uri)})}
    if spec.reference_model:
        reference = spec.reference_model
        changes["reference_model"] = reference.model_copy(update={"uri": absolute(reference.uri)})
    if spec.seed:
        update = {"dataset": absolute(spec.seed.dataset)}
        if spec.seed.heldout:
            update["heldout"] = absolute(spec.seed.heldout)
        changes["seed"] = spec.seed.model_copy(update=update)
    changes["rounds"] = tuple(
        entry.model_copy(
            update={"prompts": entry.prompts.model_copy(update={"dataset": absolute(entry.prompts.dataset)})}
        )
        for entry in spec.rounds
    )
    if spec.evaluation.prompts:
        prompts = spec.evaluation.prompts
        absolute_prompts = prompts.model_copy(update={"dataset": absolute(prompts.dataset)})
        changes["evaluation"] = spec.evaluation.model_copy(update={"prompts": absolute_prompts})
    return run.model_copy(update={"spec": spec.model_copy(update=changes)})


def open_run(run: SelfieRun, artifacts: str) -> LocalRun:
    """The run in its place: a new one, or the one that is there, with the fields that may change changed.

    Raises InvalidInput, which names the field, where the one that is there is another run.
    """
    store = open_store(f"{artifacts}/{run.metadata.name}")
    scratch = scratch_of(store, run)
    try:
        uid = str(json.loads(store.read(_IDENTITY_FILE))["uid"])
    except NotFound:
        uid = str(uuid.uuid4())
        store.create(_IDENTITY_FILE, json.dumps({"uid": uid}).encode())
    if store.exists(_RUN_FILE):
        _refuse_other_run(read_run(store), run, store)
    store.write(_RUN_FILE, dump_run(run).encode())
    return LocalRun(run, uid, store, scratch)


def directory_of(store: Store) -> Path | None:
    """The run's root as a directory of this machine; None in an object store."""
    file = store.local_path(_RUN_FILE)
    return file.parent if file else None


def weights_cache(scratch: Path) -> Path:
    """Where a run keeps checkpoints that its processes have loaded, by their digests."""
    return scratch / "cache" / "weights"


def read_run(store: Store) -> SelfieRun:
    """The run whose root this is; NotFound with a remedy where there is none."""
    try:
        return parse_run(store.read(_RUN_FILE).decode())
    except NotFound as error:
        raise NotFound(f"there is no run at {store.uri}; `selfie run FILE` makes one") from error


def read_status(store: Store) -> RunStatus:
    """The status that was last written below this root."""
    try:
        return status_from_object(json.loads(store.read(_STATUS_FILE)))
    except NotFound:
        return RunStatus()


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
