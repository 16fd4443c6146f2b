"""Records of groups of files that retention has let go, so that their absence is never taken for damage.

The record is created before anything is deleted: whoever misses a file finds the reason, and
whoever finds the record and the files goes on deleting.
"""

import re
from typing import Annotated

from pydantic import AwareDatetime, Field, ValidationError

from selfie.artifacts.manifests import FileEntry, Manifest, Record, RelativePath
from selfie.artifacts.paths import check_path
from selfie.artifacts.store import Store
from selfie.errors import AlreadyExists, DataCorrupted, FailedPrecondition, NotFound, SelfieError

RETIRED_FILE = "retired.json"
_ATTEMPT = re.compile(r"/a[0-9]+/")


class Retirement(Record):
    """``<step>/retired.json``: the group of the step's files that is gone, or about to go.

    ``files`` are all of the group, by which a step that was made anew is told from the one that this is
    about; ``bytes`` those that went with it: what two groups share went with the first.
    """

    step: RelativePath
    group: str
    reason: str
    retired_at: AwareDatetime
    bytes: Annotated[int, Field(ge=0)]
    files: tuple[RelativePath, ...]

    def is_about(self, manifest: Manifest) -> bool:
        """Whether the manifest is the one whose group has gone."""
        return set(self.files) == {entry.path for entry in manifest.files if entry.group == self.group}


def retirement_path(step: str) -> str:
    """Where the record of a step's retired group lies under the run's root."""
    return check_path(f"{step}/{RETIRED_FILE}", field="step")


def read_retirement(store: Store, step: str) -> Retirement | None:
    """The step's record; None if it has no retired group, `DataCorrupted` if it can't be read."""
    path = retirement_path(step)
    try:
        data = store.read(path)
    except NotFound:
        return None
    try:
        return Retirement.model_validate_json(data)
    except ValidationError as error:
        raise DataCorrupted(f"{store.uri}/{path} is not a record of retention: {error}") from error


def record_retirement(store: Store, retirement: Retirement) -> None:
    """Writes the record; one that is there already stays."""
    try:
        store.create(retirement_path(retirement.step), retirement.to_json())
    except AlreadyExists:
        return


def missing_file(store: Store, entry: FileEntry) -> SelfieError:
    """The error for a file that a manifest names and that is not there.

    `FailedPrecondition` ``CheckpointRetired`` where retention has removed it, else `DataCorrupted`.
    """
    place = f"{store.uri}/{entry.path}"
    for step in _steps_that_name(entry.path):
        found = read_retirement(store, step)
        if found is not None and entry.path in found.files:
            return FailedPrecondition(
                "CheckpointRetired",
                f"{place} was removed by retention: {found.reason}; take a checkpoint that `selfie "
                "artifacts ls` shows, and keep more with spec.retention.checkpoints",
            )
    return DataCorrupted(f"{place} is named by a manifest but missing")


def _steps_that_name(path: str) -> tuple[str, ...]:
    # A round's `publish` names the trainer's weights where they lie.
    step = _ATTEMPT.split(path, maxsplit=1)[0]
    return (f"{step.rpartition('/')[0]}/publish", step) if "/" in step else (step,)
