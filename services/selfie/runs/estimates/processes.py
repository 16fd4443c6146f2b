"""Which processes a step holds, and which are started for it: by the planner's own words.

`selfie.runs.wanted` decides what runs; here its decisions for all steps are read off in advance, for
a run in which nothing fails and no gate is crossed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from selfie.runs.estimates.memory import ProcessKind
from selfie.runs.lineage import Input, sources_of
from selfie.runs.spec import RunSpec
from selfie.runs.steps import ENGINE, SCORING, TRAINING, Step, steps_of
from selfie.runs.wanted import ServiceWanted, kept_warm, services_for, started_ahead

_WITH_WEIGHTS: Final[tuple[ProcessKind, ...]] = (ENGINE, SCORING)
_PROGRAMS: Final[Mapping[str, ProcessKind]] = {
    "adopt": "program",
    "prepare": "program",
    "evaluator": "program",
    "evaluate-ratings": "program",
    "seed": "trainer",
    "publish": "program",
    "train": "trainer",
}


@dataclass(frozen=True)
class Held:
    """Processes with much to hold: all that a step has, and those of them that are started for it."""

    present: tuple[ProcessKind, ...]
    started: tuple[ProcessKind, ...]


def processes_of(spec: RunSpec) -> Mapping[Step, Held]:
    """What each step of the run holds, in order."""
    steps = steps_of(spec)
    found: dict[Step, Held] = {}
    before: Mapping[ProcessKind, ServiceWanted] = {}
    for index, step in enumerate(steps):
        services = _services(spec, steps[:index], step, steps[index + 1 :])
        fresh = (name for name, wanted in services.items() if before.get(name) != wanted)
        program = (_PROGRAMS[step.name],) if step.service == TRAINING else ()
        found[step] = Held((*services, *program), (*fresh, *program))
        before = services
    return found


def _services(
    spec: RunSpec, before: Sequence[Step], step: Step, rest: Sequence[Step]
) -> Mapping[ProcessKind, ServiceWanted]:
    inputs = _inputs(spec, step)
    published = {earlier.path for earlier in before}
    following = rest[0] if rest else None
    next_ones = _inputs(spec, following) if following is not None else {}
    known = {role: entry for role, entry in next_ones.items() if entry.source.step in published}
    wanted = {
        **started_ahead(spec, following, known),
        **kept_warm(spec, step, rest, inputs.get("policy")),
        **services_for(step, inputs),
    }
    return {name: wanted[name] for name in _WITH_WEIGHTS if name in wanted}


def _inputs(spec: RunSpec, step: Step) -> dict[str, Input]:
    return {role: Input(source, "", None) for role, source in sources_of(spec, step, ()).items()}
