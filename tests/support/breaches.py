"""Changes of a run that exists: those that are refused, and those that must go on being possible."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hostile import ABSENT, BASE, BOTH, BY_API, with_changes


@dataclass(frozen=True)
class Breach:
    """A change of a run that exists: ``first`` makes it from ``BASE``, ``change`` is what is tried then."""

    place: str
    value: Any
    by: frozenset[str] = BOTH
    first: Mapping[str, Any] = field(default_factory=dict)
    ended: bool = False

    @property
    def label(self) -> str:
        shown = "absent" if self.value is ABSENT else repr(self.value)
        return f"{self.place} becomes {shown}{' after the end' if self.ended else ''}"[:110]

    def before(self) -> dict[str, Any]:
        return with_changes(BASE, self.first)

    def after(self) -> dict[str, Any]:
        return with_changes(self.before(), {self.place: self.value})


_BASE_MODEL = {"uri": "hf://org/base"}
_SECOND_ROUND = {"prompts": {"dataset": "b.jsonl", "count": 8}}

BREACHES = [
    Breach("spec.model.uri", "hf://org/another"),
    Breach("spec.model.revision", "main"),
    Breach("spec.model.secretRef", {"name": "hub"}),
    Breach("spec.referenceModel", _BASE_MODEL),
    Breach("spec.referenceModel", ABSENT, first={"spec.referenceModel": _BASE_MODEL}),
    Breach("spec.referenceModel.uri", "hf://org/third", first={"spec.referenceModel": _BASE_MODEL}),
    Breach("spec.randomSeed", 43),
    Breach("spec.seed", ABSENT, first={"spec.referenceModel": _BASE_MODEL}),
    Breach("spec.seed", {"dataset": "x"}, first={"spec.referenceModel": _BASE_MODEL, "spec.seed": ABSENT}),
    Breach("spec.seed.epochs", 4),
    Breach("spec.seed.heldout", "others.jsonl"),
    Breach("spec.rounds.0.prompts.from", 8),
    Breach("spec.rounds.0", _SECOND_ROUND),
    Breach("spec.rounds.0.lambda", "0.25"),
    Breach("spec.rounds.1", ABSENT, first={"spec.rounds.1": _SECOND_ROUND}),
    Breach("spec.rounds.1", _SECOND_ROUND, ended=True),
    Breach("spec.generation.temperature", "0.8"),
    Breach("spec.generation.engine", "tgi"),
    Breach("spec.scoring.judge", "longest"),
    Breach("spec.filter.action", "drop"),
    Breach("spec.training.lora", {}),
    Breach("spec.training.beta", "0.2"),
    Breach("spec.training.beta", "0.10"),
    Breach("spec.evaluation.samples", 2),
    Breach("spec.evaluation.gates.maxDivergence", "1"),
    Breach("spec.artifacts.uri", "s3://bucket/others"),
    Breach("spec.artifacts.secretRef", {"name": "others"}),
    Breach("spec.resumeFrom", "s3://bucket/runs/other"),
    Breach("spec.resumeFrom", ABSENT, first={"spec.resumeFrom": "s3://bucket/runs/other"}),
    # The typed model sees that these are the round's defaults written out; the CRD has no such sight.
    Breach("spec.rounds.0.epochs", 1, by=BY_API),
    Breach("spec.rounds.0.learningRate", "5e-7", by=BY_API),
]
"""Changes of what cannot change."""

LEGAL = [
    Breach("spec.suspend", True, by=frozenset()),
    Breach("spec.cancel", True, by=frozenset()),
    Breach("spec.rounds.1", _SECOND_ROUND, by=frozenset()),
    Breach("spec.nodes", 2, by=frozenset()),
    Breach("spec.microBatch", 8, by=frozenset()),
    Breach("spec.replicas.scoring", 3, by=frozenset()),
    Breach("spec.resources.training.memory", "16Gi", by=frozenset()),
    Breach("spec.placement.nodeSelector", {"example.com/gpu": "a100"}, by=frozenset()),
    Breach("spec.placement.tolerations", [{"operator": "Exists"}], by=frozenset()),
    Breach("spec.queue", "team-a", by=frozenset()),
    Breach("spec.deadlines.stageSeconds", 60, by=frozenset()),
    Breach("spec.retention.checkpoints", 3, by=frozenset()),
    Breach("spec.gpu", "separate", by=frozenset()),
    Breach("spec.ttlSecondsAfterFinished", 0, by=frozenset(), ended=True),
    Breach("spec.randomSeed", 42, by=frozenset()),
    Breach("metadata.labels", {"team": "a"}, by=frozenset()),
]
"""Changes that must go on being possible."""
