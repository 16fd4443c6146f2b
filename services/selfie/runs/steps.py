"""The steps of a run, in order: each publishes one manifest, and is done when that is there."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final
from uuid import NAMESPACE_URL, uuid5

from selfie.runs.spec import RunSpec

ENGINE: Final = "engine"
GENERATION: Final = "generation"
SCORING: Final = "scoring"
FILTERING: Final = "filtering"
TRAINING: Final = "training"

SERVICE_OF: Final = {
    "adopt": TRAINING,
    "prepare": TRAINING,
    "seed": TRAINING,
    "publish": TRAINING,
    "serve": GENERATION,
    "evaluate-initial": GENERATION,
    "evaluator": TRAINING,
    "evaluate-samples": GENERATION,
    "evaluate-heldout": SCORING,
    "evaluate-measures": SCORING,
    "evaluate-ratings": TRAINING,
    "generate": GENERATION,
    "score": SCORING,
    "filter": FILTERING,
    "train": TRAINING,
}
"""The service that carries a step out. `training` runs programs; the others answer batch calls."""

_REQUESTS = uuid5(NAMESPACE_URL, "selfie.dev/requests")


@dataclass(frozen=True, order=True)
class Step:
    """One step: ``Step(1, "generate")``. Round 0 is the seed, and `prepare` belongs to it.

    A later round has a `prepare` of its own only if it was added after the first one.
    """

    round: int
    name: str

    @property
    def path(self) -> str:
        """Where it publishes under the run's root: ``rounds/01/generate``, or ``prepare``."""
        return self.name if self in (ADOPT, PREPARE) else f"rounds/{self.round:02d}/{self.name}"

    @property
    def stage(self) -> str:
        """The stage that it belongs to; the stage `evaluate` has several steps, one of them `evaluator`."""
        return "evaluate" if self.name == EVALUATOR.name else self.name.partition("-")[0]

    @property
    def service(self) -> str:
        """Name of the service that carries it out."""
        return SERVICE_OF[self.name]


ADOPT: Final = Step(0, "adopt")
PREPARE: Final = Step(0, "prepare")
EVALUATOR: Final = Step(0, "evaluator")


def step_at(path: str) -> Step | None:
    """The step that publishes at ``path``; None if there is no such step."""
    for step in (ADOPT, PREPARE):
        if path == step.path:
            return step
    parts = path.split("/")
    if len(parts) != 3 or not (parts[1].isascii() and parts[1].isdigit()) or parts[2] not in SERVICE_OF:
        return None
    step = Step(int(parts[1]), parts[2])
    return step if step.path == path else None


def ahead_of(path: str) -> str:
    """Where work that is done ahead of the step at ``path`` lies, for it to take over."""
    return f"{path}/ahead"


def steps_of(spec: RunSpec, added: Collection[int] = ()) -> tuple[Step, ...]:
    """Every step of the run, in the order in which they are done.

    ``added``: rounds that were added after `prepare` had copied the prompts of the others.
    """
    after = ("publish", "serve", *evaluation_names(spec))
    first = ("prepare", *_initial_names(spec), *(("seed",) if spec.seed else ()), *after)
    own_pairs = spec.training.pairs == "selfMade"
    later = (*(("generate", "score", "filter") if own_pairs else ()), "train", *after)
    steps = [Step(0, name) for name in (*(("adopt",) if spec.resume_from else ()), *first)]
    for number in range(1, len(spec.rounds) + 1):
        own = ("prepare", *later) if number in added and own_pairs else later
        steps.extend(Step(number, name) for name in own)
    return tuple(steps)


def evaluation_names(spec: RunSpec) -> tuple[str, ...]:
    """Names of the steps that measure each round's policy."""
    samples = spec.evaluation.prompts is not None
    heldout = spec.seed is not None and spec.seed.heldout is not None
    return (
        *(("evaluate-samples",) if samples else ()),
        *(("evaluate-heldout",) if heldout else ()),
        *(("evaluate-measures",) if samples else ()),
        *(("evaluate-ratings",) if _fits_an_evaluator(spec) else ()),
    )


def _initial_names(spec: RunSpec) -> tuple[str, ...]:
    # Without a seed the initial model is round 0's policy, which is sampled from anyway.
    wanted = spec.evaluation.initial and spec.evaluation.prompts is not None and spec.seed is not None
    fitted = (EVALUATOR.name,) if _fits_an_evaluator(spec) else ()
    return (*(("evaluate-initial",) if wanted else ()), *fitted)


def _fits_an_evaluator(spec: RunSpec) -> bool:
    return spec.evaluation.evaluator == "bradleyTerry"


def request_id(run_uid: str, step: Step, attempt: int) -> str:
    """The UUID under which an attempt is started: always the same one for the same attempt."""
    return str(uuid5(_REQUESTS, f"{run_uid}/{step.path}/a{attempt}"))
