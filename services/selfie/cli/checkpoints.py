"""Which checkpoint of a run is meant."""

from dataclasses import dataclass

from selfie.artifacts.inventory import step_order
from selfie.artifacts.manifests import FileEntry, Manifest, read_manifest
from selfie.artifacts.run_files import read_status
from selfie.artifacts.store import Store
from selfie.errors import InvalidInput, NotFound
from selfie.runs.steps import Step, step_at

GROUP = "checkpoint"


@dataclass(frozen=True)
class ChosenCheckpoint:
    """A group of weights in a step's manifest."""

    step: str
    group: str
    entries: tuple[FileEntry, ...]


def chosen_checkpoint(
    store: Store, *, number: int | None, step: str | None, group: str | None
) -> ChosenCheckpoint:
    """The round's published one, the step's, or else the best round's; without a best round, the last.

    Raises `InvalidInput` for a choice that means nothing, `NotFound` for one that is not published.
    """
    if number is not None and (step or group):
        raise InvalidInput(
            "--round", "names one checkpoint, and --step or --group another", "give one of them"
        )
    if group and not step:
        raise InvalidInput("--group", "is a part of a step, and none is given", "add --step")
    if step is not None:
        step = step.rstrip("/")
        if step_at(step) is None:
            raise InvalidInput("--step", f"{step!r} is no step", "write one such as rounds/01/publish")
    elif number is not None:
        step = Step(number, "publish").path
    else:
        step = _best_or_last(store)
    manifest = _published(store, step)
    return ChosenCheckpoint(step, group or GROUP, manifest.group(group or GROUP))


def _best_or_last(store: Store) -> str:
    best = read_status(store).best
    if best is not None:
        return best.step
    steps = (step_at(path.removesuffix("/manifest.json")) for path in store.list("rounds"))
    published = [step for step in steps if step is not None and step.name == "publish"]
    if not published:
        raise NotFound(
            f"{store.uri} has no published checkpoint yet; `selfie artifacts ls` shows what it has"
        )
    return max(published, key=step_order).path


def _published(store: Store, step: str) -> Manifest:
    manifest = read_manifest(store, step)
    if manifest is None:
        raise NotFound(f"{store.uri} has not published {step}; `selfie artifacts ls` shows what it has")
    return manifest
