"""What a data set is scored for: by which weights, how, and in what portions."""

from dataclasses import dataclass
from typing import Any

from selfie.artifacts.manifests import ManifestRef
from selfie.errors import FailedPrecondition
from selfie.scoring.core import Scorer
from selfie.scoring.judged import Judging
from selfie.scoring.kinds import KindName
from selfie.scoring.precision import AnyMode


@dataclass(frozen=True)
class UnpublishedSamples:
    """What an attempt at a step has finished so far, and goes on to finish."""

    step: str
    attempt: int


@dataclass(frozen=True, kw_only=True)
class Task:
    """What to score, by which weights, how; ``shard_rows`` are prompts, or labelled pairs, a shard."""

    group: str
    kind: KindName
    policy_digest: str
    reference_digest: str
    judging: Judging
    divergence: bool
    shard_rows: int
    reference_scores: ManifestRef | None = None

    @property
    def precision(self) -> AnyMode:
        """The mode that was asked for."""
        return self.judging.precision

    def parameters(self) -> dict[str, Any]:
        """What the manifest says that it was asked for."""
        judging = self.judging
        return {
            "group": self.group,
            "kind": self.kind,
            "beta": judging.rule.beta,
            "lambda": judging.lam,
            "normalization": judging.rule.normalization,
            "withoutReference": judging.rule.without_reference,
            "judge": judging.judge,
            "pairing": judging.pairing,
            "finishedOnly": judging.finished_only,
            "randomSeed": judging.random_seed,
            "measureDivergence": self.divergence,
            "precision": self.precision,
        }


def refuse_other_weights(task: Task, scorer: Scorer) -> None:
    """FailedPrecondition unless the scorer holds the weights that are asked for."""
    resident = scorer.provenance
    for name, asked, held in (
        ("policy", task.policy_digest, resident.policy_digest),
        ("reference", task.reference_digest, resident.reference_digest),
    ):
        if asked != held:
            raise FailedPrecondition(
                "OtherWeightsResident",
                f"the scorer holds {held[:12]} as its {name}, not {asked[:12]}; start one with those weights",
            )
