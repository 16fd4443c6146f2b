"""Which services the run wants now, and with which weights.

Nothing is held that is not used: a service is wanted only for the step that needs it. With
``gpu: separate`` the engine also stays over a round's evaluation, because the next round's
generation wants the same weights.
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
        found[ENGINE] = ServiceWanted(ENGINE, {"policy": inputs["policy"]})
    if step.service == SCORING:
        found[SCORING] = ServiceWanted(SCORING, {role: inputs[role] for role in ("policy", "reference")})
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


def still_held(
    spec: RunSpec, wanted: Mapping[str, ServiceWanted], found: Mapping[str, ServiceObserved]
) -> frozenset[str]:
    """With ``gpu: shared``: services that hold the accelerator and are no longer wanted."""
    return ON_ACCELERATOR & (found.keys() - wanted.keys()) if spec.gpu == "shared" else frozenset()
