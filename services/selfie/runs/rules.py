"""The rules of the planner, in order: the first one that finds something decides.

Each is named for what it finds. The order is a promise: what ends a run comes before what halts
it, and nothing is concluded from manifests before the store is known to be there.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

from selfie.runs import run_rules, step_rules
from selfie.runs.actions import Verdict
from selfie.runs.bookkeeping import Situation

Rule: TypeAlias = Callable[[Situation], Verdict | None]

RULES: Final[tuple[Rule, ...]] = (
    run_rules.run_is_over,
    run_rules.cancel_was_asked_for,
    run_rules.suspend_was_asked_for,
    run_rules.store_is_unavailable,
    run_rules.every_step_is_published,
    run_rules.run_deadline_has_passed,
    run_rules.stage_deadline_has_passed,
    step_rules.inputs_are_incomplete,
    step_rules.failure_is_final,
    step_rules.attempt_must_wait,
    step_rules.service_cannot_come_back,
    step_rules.work_is_pending,
    step_rules.work_is_running,
    step_rules.manifest_is_not_yet_seen,
    step_rules.accelerator_is_still_held,
    step_rules.services_are_not_ready,
    step_rules.step_is_due,
)


def verdict_on(situation: Situation) -> Verdict:
    """What the first rule that finds something says; the last rule always finds something."""
    return next(verdict for rule in RULES if (verdict := rule(situation)) is not None)
