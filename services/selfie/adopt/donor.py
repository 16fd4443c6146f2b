"""The other run: what it was to do, what it has published, and which of that is whole."""

from collections.abc import Mapping
from dataclasses import dataclass

from selfie.artifacts.manifests import Manifest, ManifestRef, read_published
from selfie.artifacts.retirements import Retirement, read_retirement
from selfie.artifacts.store import Store
from selfie.artifacts.summaries import summary
from selfie.errors import DataCorrupted, InvalidInput, NotFound
from selfie.runs.lineage import added_rounds
from selfie.runs.load import parse_run
from selfie.runs.observed import ManifestSummary
from selfie.runs.spec import SelfieRun
from selfie.runs.steps import ADOPT, PREPARE, steps_of

RUN_FILE = "run.yaml"


@dataclass(frozen=True)
class Donor:
    """A run that is taken over from; manifests by step, and by step what retention has let go of it."""

    store: Store
    run: SelfieRun
    published: Mapping[str, tuple[Manifest, ManifestRef]]
    retired: Mapping[str, Retirement]

    @property
    def retired_files(self) -> frozenset[str]:
        """Paths of files that are named and gone for good."""
        return frozenset(path for entry in self.retired.values() for path in entry.files)

    @property
    def summaries(self) -> dict[str, ManifestSummary]:
        """What the planner is told of its manifests."""
        return {step: summary(manifest, ref.sha256) for step, (manifest, ref) in self.published.items()}


def read_donor(store: Store) -> Donor:
    """`InvalidInput` where there is no run, `DataCorrupted` where what is there is none."""
    try:
        text = store.read(RUN_FILE).decode()
    except NotFound as error:
        raise InvalidInput(
            "spec.resumeFrom", f"has no run at {store.uri}", "give the root of a run, in which run.yaml lies"
        ) from error
    try:
        run = parse_run(text)
    except InvalidInput as error:
        raise DataCorrupted(f"{store.uri}/{RUN_FILE} is not a SelfieRun: {error}") from error
    published = _published(store, run)
    return Donor(store, run, published, _retired(store, published))


def _retired(store: Store, published: Mapping[str, tuple[Manifest, ManifestRef]]) -> dict[str, Retirement]:
    found = ((step, manifest, read_retirement(store, step)) for step, (manifest, _) in published.items())
    return {step: entry for step, manifest, entry in found if entry is not None and entry.is_about(manifest)}


def _published(store: Store, run: SelfieRun) -> dict[str, tuple[Manifest, ManifestRef]]:
    prepared = read_published(store, PREPARE.path)
    if prepared is None:
        return {}
    first = {PREPARE.path: summary(prepared[0], prepared[1].sha256)}
    steps = steps_of(run.spec, added_rounds(run.spec, first))
    found = ((step.path, read_published(store, step.path)) for step in steps if step != ADOPT)
    return {path: published for path, published in found if published is not None}
