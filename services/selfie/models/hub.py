"""The Hugging Face Hub: snapshots of models and files of data sets, with Selfie's errors.

The only module that reaches the Hub, and only `selfie.prepare` calls it: a run is offline after it.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from selfie.errors import InvalidInput, NotFound, Unavailable
from selfie.models.checkpoints import OTHER_LAYOUTS, SMALL_FILES

# (repository, revision, cache root) -> directory of the snapshot, named by its commit
SnapshotDownload = Callable[[str, str | None, Path], Path]
# (repository, file, revision, cache root) -> the file on this machine
FileDownload = Callable[[str, str, str | None, Path], Path]

_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")


def model_snapshot(repository: str, revision: str | None, cache_root: Path) -> Path:
    """Downloads what a checkpoint needs of a model's repository, and no pickles or code.

    Raises `NotFound` for a repository or revision that is not there or needs a token (``HF_TOKEN``),
    `Unavailable` when the Hub can't be reached.
    """
    from huggingface_hub import snapshot_download

    with _translated(f"hf://{repository} at {revision or 'main'}"):
        directory = snapshot_download(
            repository,
            revision=revision,
            cache_dir=cache_root / "hub",
            allow_patterns=["*.safetensors", *SMALL_FILES],
            ignore_patterns=list(OTHER_LAYOUTS),
        )
    return Path(directory)


def dataset_file(repository: str, name: str, revision: str | None, cache_root: Path) -> Path:
    """Downloads one file of a data set's repository; raises as `model_snapshot` does."""
    from huggingface_hub import hf_hub_download

    with _translated(f"hf://datasets/{repository}@{revision or 'main'}/{name}"):
        found = hf_hub_download(
            repository, name, repo_type="dataset", revision=revision, cache_dir=cache_root / "hub"
        )
    return Path(found)


def check_repository(repository: str, *, field: str, remedy: str) -> str:
    """Returns ``organisation/name``; `InvalidInput` at ``field`` for anything else."""
    if not _REPOSITORY.fullmatch(repository):
        raise InvalidInput(field, f"{repository!r} does not name a repository of the Hub", remedy)
    return repository


@contextmanager
def _translated(place: str) -> Iterator[None]:
    from huggingface_hub import errors

    try:
        yield
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        message = f"{place} does not exist, or needs a token: HF_TOKEN, on a cluster that of model.secretRef"
        raise NotFound(message) from error
    except errors.RemoteEntryNotFoundError as error:
        raise NotFound(f"{place} does not exist") from error
    # Below the Hub's own errors are its HTTP client's, which differ from release to release.
    except (errors.HTTPError, OSError) as error:
        raise Unavailable(f"{place} cannot be fetched: {error}; try again, or give a local path") from error
