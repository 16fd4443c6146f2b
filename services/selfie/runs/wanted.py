"""Which services the run wants now, and with which weights.

Nothing is held that is not used: a service is wanted only for the step that needs it. With
``gpu: separate`` the engine also stays over a round's evaluation, because the next round's
generation wants the same weights; and what the next step needs is started beside the present one,
so that an accelerator does not idle while another's weights are loaded. An engine that can be moved
where it stands stays from its first sample to its last.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from selfie.runs.lineage import PREVIOUS, Input
from selfie.runs.observed import ServiceObserved
from selfie.runs.spec import RunSpec
from selfie.runs.steps import ENGINE, GENERATION, SCORING, Step

ON_ACCELERATOR: Final = frozenset({ENGINE, SCORING})
"""Services that hold an accelerator where there is one; so does a trainer's work."""

_ROLES: Final = {GENERATION: ("policy",), SCORING: ("policy", "reference")}
"""Weights that work of a service needs to be held, by their roles."""


@dataclass(frozen=True)
class ServiceWanted:
    """A service, and the weights that it must hold by role (`policy`, `reference`)."""

    name: str
    weights: Mapping[str, Input] = field(default_factory=dict)

    def is_served_by(self, found: ServiceObserved | None) -> bool:
        """Whether what was found is ready and holds exactly these weights."""
        wanted = {role: entry.weights_digest for role, entry in self.weights.items()}
        return found is not None and found.ready and dict(found.digests) == wanted


def services_for(step: Step, inputs: Mapping[str, Input]) -> dict[str, ServiceWanted]:
    """What the step itself needs, given its pinned inputs."""
    found = {step.service: ServiceWanted(step.service)}
    if step.service == GENERATION:
        found[ENGINE] = ServiceWanted(ENGINE, {role: inputs[role] for role in _ROLES[GENERATION]})
    if step.service == SCORING:
        found[SCORING] = ServiceWanted(SCORING, {role: inputs[role] for role in _ROLES[SCORING]})
    if PREVIOUS in inputs:
        found[SCORING] = ServiceWanted(SCORING, {"policy": inputs["policy"], "reference": inputs[PREVIOUS]})
    return found


def kept_warm(
    spec: RunSpec, step: Step, rest: Sequence[Step], policy: Input | None
) -> dict[str, ServiceWanted]:
    """The engine, where the next round will want it again with the same weights."""
    again = any(later.name == "generate" for later in rest)
    if spec.gpu == "separate" and step.stage == "evaluate" and again and policy is not None:
        return {ENGINE: ServiceWanted(ENGINE, {"policy": policy})}
    return {}


def kept_over(spec: RunSpec, rest: Sequence[Step], policy: Input | None) -> dict[str, ServiceWanted]:
    """The engine, where it can stay over steps that do not sample, until there are other weights for it."""
    later = any(step.service == GENERATION for step in rest)
    if spec.gpu != "separate" or not later or policy is None:
        return {}
    return {ENGINE: ServiceWanted(ENGINE, {"policy": policy})}


def started_ahead(
    spec: RunSpec, following: Step | None, inputs: Mapping[str, Input]
) -> dict[str, ServiceWanted]:
    """What holds weights for the next step, whose ``inputs`` are those that are published already."""
    roles = _ROLES.get(following.service, ()) if following is not None else ()
    if spec.gpu != "separate" or following is None or not roles or not inputs.keys() >= set(roles):
        return {}
    wanted = services_for(following, inputs)
    return {name: entry for name, entry in wanted.items() if name in ON_ACCELERATOR}


def still_held(
    spec: RunSpec, wanted: Mapping[str, ServiceWanted], found: Mapping[str, ServiceObserved]
) -> frozenset[str]:
    """With ``gpu: shared``: services that hold the accelerator and are no longer wanted."""
    return ON_ACCELERATOR & (found.keys() - wanted.keys()) if spec.gpu == "shared" else frozenset()
