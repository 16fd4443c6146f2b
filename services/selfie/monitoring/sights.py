"""One run as it was last seen, and what is read off it: pure, without Prometheus."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from selfie.runs.conditions import has_status
from selfie.runs.observed import ManifestSummary, Observed, WorkObserved
from selfie.runs.spec import RunSpec
from selfie.runs.status import RunStatus
from selfie.runs.steps import GENERATION, SCORING, TRAINING, Step

State: TypeAlias = Literal["complete", "failed", "suspended", "stalled", "active"]

_STATES: tuple[tuple[State, Literal["Complete", "Failed", "Suspended", "Stalled"]], ...] = (
    ("complete", "Complete"),
    ("failed", "Failed"),
    ("suspended", "Suspended"),
    ("stalled", "Stalled"),
)
_ON_ACCELERATORS = frozenset({"seed", "train"})


class RunName(NamedTuple):
    """A run by where it is and what it is called; ``namespace`` is ``local`` on a laptop."""

    namespace: str
    name: str


@dataclass(frozen=True)
class RunSight:
    """What is known of a run; ``spec`` is None until somebody could read it."""

    status: RunStatus = field(default_factory=RunStatus)
    spec: RunSpec | None = None
    manifests: Mapping[str, ManifestSummary] = field(default_factory=dict)
    work: WorkObserved | None = None

    def seen(self, spec: RunSpec, observed: Observed) -> "RunSight":
        """The same after a look; what a store that can't be read has told before still holds."""
        manifests = observed.manifests if observed.store.ready else self.manifests
        return RunSight(self.status, spec, manifests, observed.work)

    def told(self, status: RunStatus) -> "RunSight":
        """The same with a newer status."""
        return RunSight(status, self.spec, self.manifests, self.work)


def state_of(status: RunStatus) -> State:
    """One of five words; the first that holds."""
    return next((state for state, kind in _STATES if has_status(status.conditions, kind, "True")), "active")


def accelerators_of(spec: RunSpec, step: Step) -> int:
    """Accelerators that a step holds while it is worked on, one for each engine and scoring worker.

    The embedded engine holds none.
    """
    if step.service == GENERATION:
        return spec.replicas.engine if spec.generation.engine != "embedded" else 0
    if step.service == SCORING:
        return spec.replicas.scoring if spec.gpus_per_node else 0
    if step.service == TRAINING and step.name in _ON_ACCELERATORS:
        return spec.nodes * spec.gpus_per_node
    return 0
