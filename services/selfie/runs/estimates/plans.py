"""A run's plan as it is shown, and as JSON: estimate, what it rests on, and what is worth a second look."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final

from selfie.runs.estimates.assumptions import Assumption
from selfie.runs.estimates.estimating import RunEstimate, StepEstimate, StepFigures
from selfie.runs.estimates.measured import Finding
from selfie.runs.estimates.memory import ProcessKind
from selfie.runs.estimates.scenarios import Range
from selfie.runs.violations import Violation

HOLDING_GPUS: Final[tuple[ProcessKind, ...]] = ("engine", "scoring", "trainer")


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """Everything that `selfie plan` tells; ``on_gpus`` where the run asks for any."""

    name: str
    estimate: RunEstimate
    on_gpus: bool
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    assumptions: tuple[Assumption, ...]
    advice: tuple[Violation, ...]

    def gpu_hours(self, kind: ProcessKind) -> Range:
        """Hours times devices that processes of ``kind`` hold."""
        return self.estimate.gpu_seconds(kind).times(1 / 3600)


def object_of_plan(plan: RunPlan) -> dict[str, Any]:
    """The plan as JSON; every figure an object of low, likely and high. Documented in docs/plan.md."""
    estimate = plan.estimate
    rounds = dict.fromkeys(entry.step.round for entry in estimate.steps)
    return {
        "apiVersion": "selfie.dev/v1alpha1",
        "kind": "RunPlan",
        "run": plan.name,
        "steps": [_step(entry) for entry in estimate.steps],
        "rounds": [{"round": number, "seconds": _range(estimate.round_seconds(number))} for number in rounds],
        "total": _total(plan),
        "measured": [asdict(finding) for finding in plan.findings],
        "notes": list(plan.notes),
        "assumptions": [asdict(assumption) for assumption in plan.assumptions],
        "advice": [
            {"field": entry.field, "problem": entry.problem, "remedy": entry.remedy} for entry in plan.advice
        ],
    }


_AMOUNTS: Final[dict[str, Callable[[StepFigures], float]]] = {
    "prompts": lambda found: found.work.prompts,
    "samples": lambda found: found.work.samples,
    "pairs": lambda found: found.work.pairs,
    "promptTokens": lambda found: found.work.prompt_tokens,
    "responseTokens": lambda found: found.work.response_tokens,
    "operations": lambda found: found.work.operations,
    "seconds": lambda found: found.seconds,
    "diskBytes": lambda found: found.disk,
}


def _step(entry: StepEstimate) -> dict[str, Any]:
    kinds = tuple(entry.figures[1].memory)
    return {
        "round": entry.step.round,
        "step": entry.step.name,
        "stage": entry.step.stage,
        "path": entry.step.path,
        **{name: _range(entry.over(amount)) for name, amount in _AMOUNTS.items()},
        "unfinishedDiskBytes": _range(entry.over(lambda found: found.unfinished_disk)),
        "memoryBytes": _by_kind(kinds, lambda kind: entry.over(lambda found: found.memory[kind])),
        "machineMemoryBytes": _range(entry.over(lambda found: found.machine_memory)),
        "gpuHours": _by_kind(
            (kind for kind in kinds if kind in HOLDING_GPUS),
            lambda kind: entry.over(lambda found: found.gpu_seconds[kind]).times(1 / 3600),
        ),
    }


def _total(plan: RunPlan) -> dict[str, Any]:
    estimate, disk = plan.estimate, plan.estimate.disk
    kinds = dict.fromkeys(kind for entry in estimate.steps for kind in entry.figures[1].memory)
    added = ("promptTokens", "responseTokens", "operations", "seconds")
    return {
        **{name: _range(estimate.total(_AMOUNTS[name])) for name in added},
        "memoryBytes": _by_kind(kinds, lambda kind: estimate.peak(lambda found: found.memory.get(kind, 0.0))),
        "machineMemoryBytes": _range(estimate.peak(lambda found: found.machine_memory)),
        "unfinishedDiskBytes": _range(estimate.peak(lambda found: found.unfinished_disk)),
        "diskBytes": {
            "models": round(disk.models),
            "checkpoints": round(disk.checkpoints),
            "retainedCheckpoints": round(disk.retained),
            "dataSets": round(disk.shards),
            "whole": round(disk.whole),
            "withRetention": round(disk.with_retention),
        },
        "gpuHours": _by_kind(HOLDING_GPUS, plan.gpu_hours) if plan.on_gpus else {},
    }


def _by_kind(kinds: Iterable[ProcessKind], figure: Callable[[ProcessKind], Range]) -> dict[str, Any]:
    return {kind: _range(figure(kind)) for kind in kinds}


def _range(found: Range) -> dict[str, float]:
    return {name: float(f"{value:.6g}") for name, value in asdict(found).items()}
