"""What a look at the world found: plain facts, with absence as an empty place and never an error."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from selfie.runs.steps import Step

WorkState: TypeAlias = Literal["absent", "pending", "running", "succeeded", "failed"]


@dataclass(frozen=True)
class ManifestSummary:
    """What the planner needs to know of a published manifest.

    ``digests`` gives the digest of each group of weights that it lists: `checkpoint`, or `model`
    and `reference` for `prepare`. ``groups`` names all groups of files that it lists; none where
    they were not looked at.
    """

    sha256: str
    counts: Mapping[str, int] = field(default_factory=dict)
    measures: Mapping[str, float] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    groups: frozenset[str] = frozenset()
    attempt: int = 1
    seconds: float | None = None
    """How long the work took, for the estimate of what is left."""


@dataclass(frozen=True)
class WorkObserved:
    """The work of one attempt: an operation, a job or a process.

    ``absent``: nobody works on it, and starting it again takes it up where it was; work that was
    stopped on request counts as absent too. ``pending``: accepted and not begun, ``reason`` says
    why (`Queued`, `WaitingForCapacity`, `ImageCannotBePulled`). ``failed``: ``message`` ends with
    the last lines of its log, and ``retryable`` says whether another attempt can succeed.
    """

    step: Step
    attempt: int
    state: WorkState
    done: int = 0
    total: int = 0
    message: str = ""
    reason: str = ""
    retryable: bool = True
    restarts: int = 0
    eta_s: float | None = None

    @property
    def is_live(self) -> bool:
        """Whether somebody holds resources for it."""
        return self.state in {"pending", "running"}


@dataclass(frozen=True)
class ServiceObserved:
    """A service of the run that exists, until its last pod or process is gone.

    ``digests``: weights that it has loaded, by role (`policy`, `reference`). ``reason`` is given
    only when it cannot become ready by itself: one of `reasons.STALLING`.
    """

    ready: bool
    digests: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    message: str = ""


@dataclass(frozen=True)
class StoreObserved:
    """Whether the artifact store can be used; nothing may be concluded from an unusable one."""

    ready: bool = True
    reason: str = ""
    message: str = ""


@dataclass(frozen=True)
class Observed:
    """Everything that the planner looks at besides the specification and the status.

    ``manifests`` by path of the step; ``work`` is that of the attempt and step that the status
    names, where it names one.
    """

    store: StoreObserved = StoreObserved()
    manifests: Mapping[str, ManifestSummary] = field(default_factory=dict)
    work: WorkObserved | None = None
    services: Mapping[str, ServiceObserved] = field(default_factory=dict)
    generation: int = 1
    engine_moves: bool = False
    """Whether the run's engine can be moved to other weights where it stands."""
