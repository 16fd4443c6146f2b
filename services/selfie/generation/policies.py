"""The tokenizer of a run's policy, from the small files of its published checkpoint."""

import asyncio
import tempfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from selfie.artifacts.manifests import FileEntry, check_digest, read_manifest
from selfie.artifacts.retirements import missing_file
from selfie.artifacts.store import Store
from selfie.artifacts.weights import weights_digest
from selfie.errors import FailedPrecondition, NotFound
from selfie.models.chat import ChatTokenizer

_REMEMBERED = 8
_LARGE = ".safetensors"


@dataclass(frozen=True, slots=True)
class PublishedWeights:
    """A checkpoint as a step has published it."""

    step: str
    group: str
    digest: str


class PolicyTokenizers:
    """Fetches each policy's tokenizer once; the latest few are kept."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, ChatTokenizer] = OrderedDict()
        self._fetching = asyncio.Lock()

    async def of(self, store: Store, weights: PublishedWeights) -> ChatTokenizer:
        """The tokenizer of these weights.

        Raises `NotFound` and `FailedPrecondition` ``WeightsDiffer`` when the step has not published
        them, `DataCorrupted` when a file is not as its manifest has it.
        """
        async with self._fetching:
            if weights.digest not in self._known:
                self._known[weights.digest] = await asyncio.to_thread(_fetch, store, weights)
            self._known.move_to_end(weights.digest)
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
            return self._known[weights.digest]


def _fetch(store: Store, weights: PublishedWeights) -> ChatTokenizer:
    manifest = read_manifest(store, weights.step)
    if manifest is None:
        raise NotFound(f"{store.uri}: step {weights.step} has published no weights")
    entries = manifest.group(weights.group or "checkpoint")
    found = weights_digest(entries)
    if found != weights.digest:
        message = f"{weights.step} has the weights {found}, and {weights.digest} were asked for"
        raise FailedPrecondition("WeightsDiffer", f"{store.uri}: {message}")
    with tempfile.TemporaryDirectory() as directory:
        for entry in entries:
            if not entry.name.endswith(_LARGE):
                _fetch_file(store, entry, Path(directory) / entry.name)
        return ChatTokenizer(Path(directory))


def _fetch_file(store: Store, entry: FileEntry, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        found = store.download(entry.path, file)
    except NotFound as error:
        raise missing_file(store, entry) from error
    check_digest(store, entry, found)
