"""The estimate of a run: every step of the planner's list with its figures, in three scenarios."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from selfie.runs.estimates.amounts import Work
from selfie.runs.estimates.data import Case
from selfie.runs.estimates.disk import Disk, disk_of, disk_of_step, unfinished_bytes
from selfie.runs.estimates.memory import SERVICES, ProcessKind, footprint_of
from selfie.runs.estimates.processes import Held, processes_of
from selfie.runs.estimates.rates import Copies, Rates, seconds_of
from selfie.runs.estimates.scenarios import NOTHING, SCENARIOS, Range, Scenario
from selfie.runs.estimates.work import work_of
from selfie.runs.steps import Step

_CHECKPOINTS: Final[Mapping[ProcessKind, int]] = {"engine": 1, "scoring": 2, "trainer": 3, "program": 1}
"""That a kind of process reads or writes whole; but `publish` only names the weights that are there."""


@dataclass(frozen=True, kw_only=True)
class StepFigures:
    """What one step takes in one scenario; bytes of memory and GPU-seconds by kind of process.

    ``disk`` is what it leaves in the store, ``unfinished_disk`` what a training needs meanwhile.
    """

    work: Work
    seconds: float
    memory: Mapping[ProcessKind, float]
    disk: float
    unfinished_disk: float
    gpu_seconds: Mapping[ProcessKind, float]

    @property
    def machine_memory(self) -> float:
        """All processes of the step together, where one machine holds them."""
        return SERVICES + sum(self.memory.values())


@dataclass(frozen=True)
class StepEstimate:
    """A step's figures in the scenarios, from the least to the most."""

    step: Step
    figures: tuple[StepFigures, StepFigures, StepFigures]

    def over(self, figure: Callable[[StepFigures], float]) -> Range:
        """One figure as a range."""
        least, likely, most = (figure(entry) for entry in self.figures)
        return Range.of((least, likely, most))

    @property
    def seconds(self) -> Range:
        return self.over(lambda found: found.seconds)


@dataclass(frozen=True)
class RunEstimate:
    """What a run takes: its steps in order, and what its store holds in the end."""

    steps: tuple[StepEstimate, ...]
    disk: Disk

    def total(self, figure: Callable[[StepFigures], float]) -> Range:
        """Sum of one figure over all steps."""
        return sum((entry.over(figure) for entry in self.steps), NOTHING)

    def peak(self, figure: Callable[[StepFigures], float]) -> Range:
        """Largest value of one figure in any step."""
        first, *others = (entry.over(figure) for entry in self.steps)
        for other in others:
            first = first.largest(other)
        return first

    @property
    def seconds(self) -> Range:
        """Time of all steps, one after the other."""
        return self.total(lambda found: found.seconds)

    def round_seconds(self, number: int) -> Range:
        """Time of one round's steps; `prepare` is one of round 0's."""
        own = [entry.seconds for entry in self.steps if entry.step.round == number]
        return sum(own, NOTHING)

    def gpu_seconds(self, kind: ProcessKind) -> Range:
        """Seconds times devices that processes of ``kind`` hold; 0 where the run asks for none."""
        return self.total(lambda found: found.gpu_seconds.get(kind, 0.0))


@dataclass(frozen=True)
class Pace:
    """How fast it goes: ``rates`` of one device, and by kind of process the bytes that a measurement
    found beyond what `memory` says of it.
    """

    rates: Rates
    remainders: Mapping[ProcessKind, float] = field(default_factory=dict)


def estimate_run(case: Case, pace: Pace) -> RunEstimate:
    """Every step of the run, none left out: `steps_of` says which there are."""
    held = processes_of(case.spec)
    steps = tuple(_estimate_step(case, pace, step, held[step]) for step in held)
    return RunEstimate(steps, disk_of(case, sum(entry.figures[1].disk for entry in steps)))


def _estimate_step(case: Case, pace: Pace, step: Step, held: Held) -> StepEstimate:
    least, likely, most = (_figures(case, pace, step, held, scenario) for scenario in SCENARIOS)
    return StepEstimate(step, (least, likely, most))


def _figures(case: Case, pace: Pace, step: Step, held: Held, scenario: Scenario) -> StepFigures:
    work = work_of(case, step, scenario)
    started = sum(_start_seconds(case, pace.rates, step, kind) for kind in held.started)
    busy = seconds_of(work, pace.rates, _copies(case))
    seconds = (pace.rates.between + started + busy) * pace.rates.spread**scenario.pace
    memory = {
        kind: footprint_of(case, step, kind, scenario).peak(scenario, pace.remainders.get(kind, 0.0))
        for kind in held.present
    }
    trained = seconds if "trainer" in held.present else 0.0
    return StepFigures(
        work=work,
        seconds=seconds,
        memory=memory,
        disk=disk_of_step(case, step, work),
        unfinished_disk=unfinished_bytes(case, trained),
        gpu_seconds={kind: seconds * devices(case, kind) for kind in held.present},
    )


def devices(case: Case, kind: ProcessKind) -> int:
    """Accelerators that processes of ``kind`` hold."""
    spec = case.spec
    if kind == "program" or not spec.gpus_per_node:
        return 0
    replicas = {"engine": spec.replicas.engine, "scoring": spec.replicas.scoring}
    return replicas.get(kind, spec.nodes * spec.gpus_per_node)


def _copies(case: Case) -> Copies:
    # Where the run has no accelerators its services are processes of one machine, one of each.
    if not case.spec.gpus_per_node:
        return Copies(trainer=case.spec.nodes)
    return Copies(devices(case, "engine"), devices(case, "scoring"), devices(case, "trainer"))


def _start_seconds(case: Case, rates: Rates, step: Step, kind: ProcessKind) -> float:
    checkpoints = 0 if step.name == "publish" else _CHECKPOINTS[kind]
    return rates.start + checkpoints * case.policy.weight_bytes * rates.load
