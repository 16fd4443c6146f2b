"""What a run has published so far, as the planner is told of it."""

from collections.abc import Mapping

from selfie.artifacts.manifests import read_published
from selfie.artifacts.store import Store
from selfie.artifacts.summaries import summary
from selfie.runs.lineage import added_rounds
from selfie.runs.observed import ManifestSummary
from selfie.runs.spec import RunSpec
from selfie.runs.steps import steps_of


class PublishedSteps:
    """Manifests of one run, each read once: one that is published never changes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._found: dict[str, ManifestSummary] = {}

    def look(self, spec: RunSpec) -> Mapping[str, ManifestSummary]:
        """Those of the steps that are done, in their order, up to the first that is not.

        Raises `Unavailable` if the store can't be read, and what `read_published` raises.
        """
        for step in steps_of(spec, added_rounds(spec, self._found)):
            if step.path not in self._found:
                published = read_published(self._store, step.path)
                if published is None:
                    break
                manifest, ref = published
                self._found[step.path] = summary(manifest, ref.sha256)
        return dict(self._found)
