"""The planner: from what a run is to do and what is there, to what happens next.

Pure, total and level-triggered: the same facts give the same plan, whatever happened before, and
there are no facts that it has no plan for. Who carries a plan out saves its status first, then
makes the services as it wants them, then performs its actions, and looks again; a crash in
between costs nothing but the time until the next look.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from selfie.runs.actions import Action
from selfie.runs.bookkeeping import situation_of
from selfie.runs.observed import Observed
from selfie.runs.reporting import reported
from selfie.runs.rules import verdict_on
from selfie.runs.spec import RunSpec
from selfie.runs.status import RunStatus
from selfie.runs.wanted import ServiceWanted


@dataclass(frozen=True)
class Plan:
    """What to do now.

    ``services``: the run's services that are wanted, with their weights, and no others; None
    leaves alone whatever is there. ``requeue_after_s``: when to look again at the latest, in
    seconds; None means not before something changes.
    """

    status: RunStatus
    actions: tuple[Action, ...]
    services: Mapping[str, ServiceWanted] | None
    requeue_after_s: float | None


def plan(spec: RunSpec, status: RunStatus, observed: Observed, now: datetime) -> Plan:
    """What happens next; ``now`` must know its time zone."""
    situation = situation_of(spec, status, observed, now)
    verdict = verdict_on(situation)
    return Plan(
        status=reported(situation, verdict),
        actions=verdict.actions,
        services=verdict.services,
        requeue_after_s=verdict.requeue_after_s,
    )
