"""An evaluator as a file: safetensors, whose bytes depend on the numbers alone."""

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from selfie.artifacts.digests import digest_bytes
from selfie.artifacts.manifests import FileEntry, Manifest, check_digest
from selfie.artifacts.store import Store
from selfie.errors import DataCorrupted, NotFound
from selfie.method.bradley_terry import BradleyTerry

GROUP = "evaluator"
NAME = "evaluator.safetensors"
_NUMBERS = ("length_weight", "ridge", "origin")


def write_evaluator(store: Store, evaluator: BradleyTerry, path: str) -> FileEntry:
    """Stores the evaluator at ``path``; its entry's SHA-256 is what it is known by."""
    tensors = {"weights": evaluator.weights, **{name: _array(evaluator, name) for name in _NUMBERS}}
    data = save(tensors)
    store.write(path, data)
    digest = digest_bytes(data)
    return FileEntry(group=GROUP, name=NAME, path=path, sha256=digest.sha256, bytes=digest.bytes)


def read_evaluator(store: Store, manifest: Manifest) -> tuple[BradleyTerry, str]:
    """The evaluator that the manifest names, and its digest; `DataCorrupted` for another file than that."""
    entry = manifest.group(GROUP)[0]
    try:
        data = store.read(entry.path)
    except NotFound as error:
        raise DataCorrupted(f"{store.uri}/{entry.path} is named by a manifest but missing") from error
    check_digest(store, entry, digest_bytes(data))
    try:
        tensors = load(data)
        numbers = {name: float(tensors[name][0]) for name in _NUMBERS}
        return BradleyTerry(weights=tensors["weights"], **numbers), entry.sha256
    except (SafetensorError, KeyError) as error:
        raise DataCorrupted(f"{store.uri}/{entry.path} is not an evaluator: {error}") from error


def _array(evaluator: BradleyTerry, name: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([getattr(evaluator, name)], dtype=np.float64)
