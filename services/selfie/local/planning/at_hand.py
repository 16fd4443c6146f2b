"""Which of a run's models are on this machine, without fetching or converting anything."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from selfie.errors import FailedPrecondition, InvalidInput
from selfie.models.checkpoints import read_json
from selfie.models.embedded import converted_checkpoint
from selfie.runs.estimates.shapes import ModelShape, shape_by_name, shape_of
from selfie.runs.sources import ModelSource


@dataclass(frozen=True)
class ModelAtHand:
    """A model's shape and where it is known from; its directory if that is here, with or without weights."""

    shape: ModelShape
    basis: str
    directory: Path | None = None

    @property
    def has_weights(self) -> bool:
        """Whether it can be loaded."""
        return self.directory is not None and any(self.directory.glob("*.safetensors"))

    @property
    def has_tokenizer(self) -> bool:
        """Whether texts can be tokenised with it."""
        return self.directory is not None and (self.directory / "tokenizer.json").is_file()


def model_at_hand(source: ModelSource, cache_root: Path, *, field: str) -> ModelAtHand:
    """The model of a specification as far as this machine has it.

    Of one that is elsewhere, the shape is that of the common model nearest to the size in its name.
    `InvalidInput` at ``field`` where the name tells no size, or the model is one that has no estimate.
    """
    directory = _directory(source, cache_root, field)
    if directory is not None:
        shape = shape_of(read_json(directory / "config.json"), field=f"{field}.uri")
        return ModelAtHand(shape, f"read in {directory}", directory)
    found = shape_by_name(source.uri)
    if found is None:
        raise InvalidInput(
            f"{field}.uri",
            f"{source.uri} is not on this machine, and its name does not tell its size",
            "plan with a directory that has its config.json",
        )
    name, shape = found
    return ModelAtHand(shape, f"assumed to be like {name}, because it is not on this machine")


def _directory(source: ModelSource, cache_root: Path, field: str) -> Path | None:
    scheme, separator, rest = source.uri.partition("://")
    if not separator or scheme == "file":
        directory = Path(unquote(rest) if separator else source.uri)
        return directory if (directory / "config.json").is_file() else None
    if scheme == "builtin":
        # Without the package that carries it, it may still be planned for another machine.
        with suppress(FailedPrecondition):
            return converted_checkpoint(rest, cache_root, field=f"{field}.uri")
    if scheme == "hf":
        return _snapshot(rest, source.revision, cache_root)
    return None


def _snapshot(repository: str, revision: str | None, cache_root: Path) -> Path | None:
    """The newest snapshot of a model of the Hub that an earlier download has left."""
    from huggingface_hub import try_to_load_from_cache

    for cache in (cache_root / "hub", None):
        found = try_to_load_from_cache(
            repository, "config.json", cache_dir=cache, revision=revision or "main"
        )
        if isinstance(found, str):
            return Path(found).parent
    return None
