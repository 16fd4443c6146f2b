"""Takes what was observed into the status, before any rule looks at it: steps, attempts, failures.

It can be repeated: taking the same observation in twice changes nothing the second time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from selfie.runs import reasons
from selfie.runs.conditions import shortened
from selfie.runs.evaluations import RoundEvaluation, evaluations_of
from selfie.runs.lineage import Source, added_rounds, sources_of
from selfie.runs.observed import Observed, WorkObserved
from selfie.runs.spec import RunSpec
from selfie.runs.status import MAX_ATTEMPTS, Failures, RunStatus, derived_reason
from selfie.runs.steps import Step, steps_of
from selfie.runs.timing import paused_seconds

MANIFEST_PATIENCE_S = 60.0
"""How long work may claim success without a manifest before it counts as failed."""


@dataclass(frozen=True)
class Situation:
    """Everything that a rule looks at.

    ``steps`` are those to be done in all (a gate may end the run early), ``step`` is the first of
    them without a manifest: None when all are published, or when the store cannot be read.
    ``added`` are the rounds that were added to the run after its first `prepare`.
    """

    spec: RunSpec
    status: RunStatus
    observed: Observed
    now: datetime
    steps: tuple[Step, ...]
    step: Step | None
    evaluations: tuple[RoundEvaluation, ...]
    added: frozenset[int] = frozenset()

    @property
    def sources(self) -> Mapping[str, Source]:
        """What the present step reads, by role."""
        return sources_of(self.spec, self.present, self.evaluations, self.added)

    @property
    def present(self) -> Step:
        """The present step, for rules that come after those that look at whether there is one."""
        if self.step is None:
            raise AssertionError("a rule about the present step was asked before those about the run")
        return self.step

    @property
    def rest(self) -> tuple[Step, ...]:
        """The present step and all after it."""
        return self.steps[self.steps.index(self.step) :] if self.step else ()

    @property
    def following(self) -> Step | None:
        """The step after the present one."""
        return self.rest[1] if len(self.rest) > 1 else None

    @property
    def sources_after(self) -> Mapping[str, Source]:
        """What the step after it reads, as far as can be said before the present one has ended."""
        if self.following is None:
            return {}
        return sources_of(self.spec, self.following, self.evaluations, self.added)

    @property
    def work(self) -> WorkObserved | None:
        """The work of the present attempt at the present step; None where other work was seen."""
        work = self.observed.work
        return work if work and is_present(work, self.status) else None


def situation_of(spec: RunSpec, status: RunStatus, observed: Observed, now: datetime) -> Situation:
    """The facts in order, with the status brought up to them."""
    if status.is_terminal:
        return Situation(spec, status, observed, now, (), None, ())
    if not observed.store.ready:
        return Situation(spec, _started(status, now), observed, now, steps_of(spec), None, ())
    evaluations = evaluations_of(spec, observed.manifests)
    added = added_rounds(spec, observed.manifests)
    steps = _until_stopped(spec, steps_of(spec, added), evaluations)
    step = next((step for step in steps if step.path not in observed.manifests), None)
    status = _started(status, now)
    if step is not None:
        status = _moved_to(status, step, now)
    if not (spec.suspend or spec.cancel):
        # Work that was stopped on request may well end in failure; that is not held against it.
        status = _with_failure(status, spec, observed.work, now)
    return Situation(spec, status, observed, now, steps, step, evaluations, added)


def is_present(work: WorkObserved, status: RunStatus) -> bool:
    """Whether this is the work that the status is about, and not an earlier attempt's or step's."""
    return work.step.path == status.step and work.attempt == status.attempt


def _until_stopped(
    spec: RunSpec, steps: tuple[Step, ...], evaluations: Sequence[RoundEvaluation]
) -> tuple[Step, ...]:
    if spec.evaluation.gates.on_breach != "stop":
        return steps
    stop = next((entry.round for entry in evaluations if entry.breaches), None)
    return steps if stop is None else tuple(step for step in steps if step.round <= stop)


def _started(status: RunStatus, now: datetime) -> RunStatus:
    return status if status.start_time else status.model_copy(update={"start_time": now})


def _moved_to(status: RunStatus, step: Step, now: datetime) -> RunStatus:
    if status.step == step.path and status.attempt > 0:
        return status
    changes: Mapping[str, object] = {
        "step": step.path,
        "round": step.round,
        "stage": step.stage,
        "attempt": 1,
        "restarts": 0,
        "failures": None,
    }
    if (status.round, status.stage) != (step.round, step.stage) or status.stage_start_time is None:
        paused = paused_seconds(status, now)
        # A pause ends with the stage that it held up; the rules say whether a new one begins.
        changes = {
            **changes,
            "stage_start_time": now,
            "paused_since": None,
            "paused_seconds": paused,
            "stage_paused_seconds": paused,
        }
    return status.model_copy(update=changes)


def _with_failure(status: RunStatus, spec: RunSpec, work: WorkObserved | None, now: datetime) -> RunStatus:
    failure = _failure_of(status, work, now)
    if failure is None or (status.failures and status.failures.attempt == status.attempt):
        return status
    again = failure.retryable and failure.count <= spec.retries
    attempt = status.attempt + 1 if again else status.attempt
    return status.model_copy(update={"failures": failure, "attempt": attempt, "restarts": 0})


def _failure_of(status: RunStatus, work: WorkObserved | None, now: datetime) -> Failures | None:
    if work is None or not is_present(work, status):
        return None
    if work.state == "failed":
        reason, message, retryable = work.reason, work.message, work.retryable
    elif work.state == "succeeded" and _has_waited_for_manifest(status, now):
        reason, retryable = reasons.MANIFEST_MISSING, True
        message = "the work says that it succeeded, and has published no manifest"
    else:
        return None
    before = status.failures.count if status.failures else 0
    return Failures(
        count=min(before + 1, MAX_ATTEMPTS),
        attempt=status.attempt,
        last_failure_time=now,
        reason=reason[:128],
        message=shortened(message),
        retryable=retryable,
    )


def _has_waited_for_manifest(status: RunStatus, now: datetime) -> bool:
    if derived_reason(status) != reasons.MANIFEST_NOT_YET_SEEN or status.reason_since is None:
        return False
    return (now - status.reason_since).total_seconds() >= MANIFEST_PATIENCE_S
