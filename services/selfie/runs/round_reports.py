"""What a status says of each round, and of the best one, read from the manifests."""

from collections.abc import Mapping, Sequence

from selfie.runs.evaluations import RoundEvaluation, finite, measures_of
from selfie.runs.lineage import policy_round
from selfie.runs.observed import ManifestSummary
from selfie.runs.spec import RunSpec
from selfie.runs.status import MAX_ROUNDS, Accuracy, BestRound, Checkpoint, RoundStatus
from selfie.runs.steps import Step

_MAX_COUNTS = 16


def round_reports(
    spec: RunSpec, manifests: Mapping[str, ManifestSummary], evaluations: Sequence[RoundEvaluation]
) -> tuple[RoundStatus, ...]:
    """The newest rounds of which anything is published, in order."""
    begun = [
        number
        for number in range(len(spec.rounds) + 1)
        if any(Step(number, name).path in manifests for name in ("seed", "publish", "generate"))
    ]
    return tuple(_report(spec, number, manifests, evaluations) for number in begun[-MAX_ROUNDS:])


def best_round(
    manifests: Mapping[str, ManifestSummary], evaluations: Sequence[RoundEvaluation]
) -> BestRound | None:
    """The best round so far; None while no round has a measured accuracy."""
    best = evaluations[-1].best if evaluations else None
    if best is None:
        return None
    checkpoint, accuracy = _checkpoint(best, manifests), _share(evaluations[best].accuracy)
    if checkpoint is None or accuracy is None:
        return None
    return BestRound(round=best, step=checkpoint.step, digest=checkpoint.digest, accuracy=round(accuracy, 4))


def _report(
    spec: RunSpec,
    number: int,
    manifests: Mapping[str, ManifestSummary],
    evaluations: Sequence[RoundEvaluation],
) -> RoundStatus:
    filtered = manifests.get(Step(number, "filter").path)
    trained = manifests.get(Step(number, "train" if number else "seed").path)
    training = finite(trained.measures) if trained else {}
    measures = measures_of(number, manifests)
    evaluation = evaluations[number] if number < len(evaluations) else None
    return RoundStatus(
        round=number,
        policy_round=policy_round(spec, number, evaluations) if number else None,
        counts=_counts(filtered),
        noisy_share=_share(finite(filtered.measures).get("noisy_share")) if filtered else None,
        loss=training.get("loss_last"),
        online_noisy_share=_share(training.get("noisy_share")),
        online_noisy_pairs=_count(training.get("z_ones")),
        accuracy=_accuracy(measures),
        mean_length=measures.get("mean_tokens"),
        divergence=measures.get("divergence"),
        finished_share=_share(measures.get("finished_share")),
        duplicate_share=_share(measures.get("duplicate_share")),
        empty_share=_share(measures.get("empty_share")),
        checkpoint=_checkpoint(number, manifests),
        breaches=evaluation.breaches if evaluation else (),
    )


def _accuracy(measures: Mapping[str, float]) -> Accuracy | None:
    value = _share(measures.get("accuracy"))
    if value is None:
        return None
    return Accuracy(
        value=value,
        low=_share(measures.get("accuracy_low")),
        high=_share(measures.get("accuracy_high")),
        mean=_share(measures.get("accuracy_mean")),
        n=_count(measures.get("n")),
    )


def _checkpoint(number: int, manifests: Mapping[str, ManifestSummary]) -> Checkpoint | None:
    step = Step(number, "publish").path
    digest = manifests[step].digests.get("checkpoint") if step in manifests else None
    return Checkpoint(step=step, digest=digest[:128]) if digest else None


def _counts(filtered: ManifestSummary | None) -> dict[str, int]:
    entries = sorted(filtered.counts.items()) if filtered else []
    return {name[:64]: min(max(count, 0), 2**63 - 1) for name, count in entries[:_MAX_COUNTS]}


def _share(value: float | None) -> float | None:
    # A share a rounding error above 1 is 1; a status must never fail to be written.
    return None if value is None else min(max(value, 0.0), 1.0)


def _count(value: float | None) -> int | None:
    return None if value is None else min(max(round(value), 0), 2**63 - 1)
