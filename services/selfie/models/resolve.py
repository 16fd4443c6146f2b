"""From the URI of a model to a directory on this machine that was checked.

Models come with the installation (`builtin://`), from this machine, from the Hugging Face Hub,
or from an object store. Only `selfie.prepare` reaches out: every later step of a run reads the
copy in the run's own artifact store.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from selfie.artifacts.store import Store, open_store
from selfie.errors import InvalidInput, NotFound
from selfie.models.cache import finish, unfinished
from selfie.models.checkpoints import adapter_files, checkpoint_files, is_adapter, is_checkpoint_file
from selfie.models.embedded import embedded_checkpoint
from selfie.models.hub import SnapshotDownload, check_repository, model_snapshot

_REMEDY = "use builtin://name, hf://organisation/name, file:///directory, s3://… or gs://…"
_HUB_REMEDY = "write hf://organisation/name, and the revision in its own field"


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A checkpoint on this machine.

    ``files`` are those that count; ``revision`` is the commit for a model of the Hub, else what
    was asked for. ``owned`` says that the directory belongs to Selfie's cache, where nobody changes
    it, so that its files may be linked instead of copied.
    """

    uri: str
    revision: str | None
    directory: Path
    files: tuple[Path, ...]
    owned: bool


def resolve_model(
    uri: str,
    *,
    cache_root: Path,
    revision: str | None = None,
    field: str = "model.uri",
    download: SnapshotDownload = model_snapshot,
    adapters: bool = False,
) -> ResolvedModel:
    """The checkpoint at ``uri`` as a checked directory; what has to be fetched goes below ``cache_root``.

    A ``uri`` without scheme is a path. With ``adapters`` it may hold an adapter instead of a model. Raises
    `InvalidInput` at ``field`` for another scheme and for what `checkpoint_files` refuses; `NotFound` and
    `Unavailable` as the place of origin does.
    """
    scheme, separator, rest = uri.partition("://")
    match scheme if separator else "path":
        case "path":
            directory = Path(uri)
        case "file":
            directory = Path(unquote(rest))
        case "builtin":
            directory = embedded_checkpoint(rest, cache_root, field=field)
        case "hf":
            directory = download(
                check_repository(rest, field=field, remedy=_HUB_REMEDY), revision, cache_root
            )
            revision = directory.name
        case "s3" | "gs":
            directory = _fetch(open_store(uri), cache_root)
        case _:
            raise InvalidInput(field, f"{uri!r} is not the place of a model", _REMEDY)
    if not directory.is_dir():
        raise InvalidInput(field, f"{directory} is not a directory", _REMEDY)
    owned = directory.is_relative_to(cache_root)
    files = adapter_files if adapters and is_adapter(directory) else checkpoint_files
    return ResolvedModel(uri, revision, directory, files(directory, field=field), owned)


def _fetch(store: Store, cache_root: Path) -> Path:
    names = [name for name in store.list("") if is_checkpoint_file(name)]
    if not names:
        raise NotFound(f"{store.uri} has no checkpoint files")
    place = cache_root / "models"
    with unfinished(place) as partial:
        lines = [f"{name} {store.download(name, partial / name).sha256}\n" for name in names]
        target = place / f"fetched-{hashlib.sha256(''.join(lines).encode()).hexdigest()}"
        finish(partial, target)
    return target
