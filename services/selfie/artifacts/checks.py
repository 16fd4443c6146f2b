"""Whether a run's artifacts are what their manifests say: every file, and how the steps hang together."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from selfie.artifacts.inventory import AttemptPlace, Inventory
from selfie.artifacts.manifests import FileEntry, Manifest, check_digest, manifest_path
from selfie.artifacts.store import Store
from selfie.artifacts.summaries import GROUPS_OF_WEIGHTS
from selfie.artifacts.weights import weights_digest
from selfie.errors import DataCorrupted, NotFound

Kind: TypeAlias = Literal["damaged", "removed", "remark"]

_OWN_WEIGHTS: Final = GROUPS_OF_WEIGHTS - {"reference"}
"""Groups whose digest is the one that the manifest gives as that of its weights."""
_WEIGHTS_READ: Final = frozenset({"policy", "reference", "initial", "checkpoint"})
"""Names of a manifest's inputs that are digests of weights."""
_DATA_READ: Final = frozenset(
    {"input", "prompts", "pairs", "heldout", "samples", "evaluator", "reference-scores"}
)
"""Names of a manifest's inputs that are digests of other manifests."""


@dataclass(frozen=True)
class Finding:
    """``damaged``: ``remedy`` says what to do. ``removed``: retention did it. ``remark``: harmless."""

    kind: Kind
    step: str
    path: str
    problem: str
    remedy: str = ""

    def __str__(self) -> str:
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{self.kind}: {self.path} {self.problem}{remedy}"


def check(store: Store, inventory: Inventory, steps: Collection[str]) -> Iterator[Finding]:
    """What is to be said of the published ``steps``, step by step; reads every file that they name, once."""
    for step, problem in inventory.unreadable.items():
        if step in steps:
            yield Finding("damaged", step, manifest_path(step), f"cannot be read: {problem}", _anew(step))
    seen: set[tuple[str, str, int]] = set()
    for step, manifest in inventory.manifests.items():
        if step in steps:
            yield from _retired(inventory, step)
            for entry in manifest.files:
                key = (entry.path, entry.sha256, entry.bytes)
                if key not in seen and not inventory.is_retired(step, entry.group):
                    seen.add(key)
                    yield from _file(store, step, entry)
            yield from _weights(manifest)
            yield from _inputs(inventory, manifest)
            yield from _unnamed(inventory, manifest)


def _retired(inventory: Inventory, step: str) -> Iterator[Finding]:
    found = inventory.retired.get(step)
    if found is not None:
        problem = f"was let go by retention: {found.reason}"
        yield Finding("removed", step, f"{step} ({found.group})", problem)


def _file(store: Store, step: str, entry: FileEntry) -> Iterator[Finding]:
    try:
        check_digest(store, entry, store.digest(entry.path))
    except NotFound:
        yield Finding("damaged", step, entry.path, "is missing", _anew(step))
    except DataCorrupted as error:
        problem = str(error).removeprefix(f"{store.uri}/{entry.path} ")
        yield Finding("damaged", step, entry.path, problem, _anew(step))


def _weights(manifest: Manifest) -> Iterator[Finding]:
    step, known = manifest.step, manifest.weights_digest
    for group in sorted(_OWN_WEIGHTS & {entry.group for entry in manifest.files}):
        found = weights_digest(manifest.group(group))
        if known not in (None, found):
            problem = f"says that its weights are {known}, and its group {group} is {found}"
            yield Finding("damaged", step, manifest_path(step), problem, _anew(step))


def _inputs(inventory: Inventory, manifest: Manifest) -> Iterator[Finding]:
    # What `prepare` reads comes from outside of the run.
    if manifest.step.endswith("prepare"):
        return
    earlier = _before(inventory, manifest.step)
    weights = {
        weights_digest(other.group(group))
        for other, _ in earlier
        for group in GROUPS_OF_WEIGHTS & {entry.group for entry in other.files}
    }
    manifests = {sha256 for _, sha256 in earlier}
    for name, digest in sorted(manifest.inputs.items()):
        known = weights if name in _WEIGHTS_READ else manifests if name in _DATA_READ else {digest}
        if digest not in known:
            problem = f"was made from the {name} {digest}, which no earlier step has published"
            yield Finding(
                "damaged", manifest.step, manifest_path(manifest.step), problem, _anew(manifest.step)
            )


def _before(inventory: Inventory, step: str) -> list[tuple[Manifest, str]]:
    steps = list(inventory.published)
    return [
        (manifest, ref.sha256)
        for manifest, ref in (inventory.published[name] for name in steps[: steps.index(step)])
    ]


def _unnamed(inventory: Inventory, manifest: Manifest) -> Iterator[Finding]:
    for path in inventory.unnamed(AttemptPlace(manifest.step, manifest.attempt)):
        problem = f"is named by no manifest ({inventory.sizes[path]} bytes)"
        yield Finding("remark", manifest.step, path, problem, "`selfie artifacts gc` removes it")


def _anew(step: str) -> str:
    return f"restore it from a copy, or delete {step} and every later step and run again"
