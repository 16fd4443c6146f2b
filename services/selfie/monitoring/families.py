"""The figures of runs by name: what each means, and where it is read.

`selfie_run_*` are of a run as it stands, `selfie_round_*` of one of its newest rounds, `selfie_step_*`
of a published step. Units are in the names: seconds, nats, tokens, ratio (0 to 1); margins are
rewards, which have none.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from selfie.monitoring.gauges import Sample
from selfie.monitoring.sights import RunSight, accelerators_of, state_of
from selfie.runs.evaluations import finite
from selfie.runs.observed import ManifestSummary
from selfie.runs.status import MAX_ROUNDS, RunStatus, derived_reason
from selfie.runs.steps import Step, step_at
from selfie.runs.timing import active_seconds, stage_seconds


@dataclass(frozen=True)
class Measure:
    """One measure of a step's manifest as a figure of its round."""

    family: str
    help: str
    step: str
    name: str
    labels: tuple[tuple[str, str], ...] = ()


def _heldout(family: str, name: str, text: str) -> Measure:
    return Measure(f"selfie_round_heldout_{family}", text, "evaluate-heldout", name)


def _responses(family: str, name: str, text: str) -> Measure:
    return Measure(f"selfie_round_{family}", text, "evaluate-measures", name)


def _training(family: str, name: str, text: str) -> Measure:
    return Measure(f"selfie_round_training_{family}", text, "train", name)


_MARGIN_TEXT = "Quantiles of the judge's margins over the round's self-made pairs, in units of reward."
_SAMPLED = "Mean tokens of the responses drawn for training."

MEASURES: Final = (
    _heldout("accuracy_ratio", "accuracy", "Held-out pairs on which the judge agrees with people."),
    _heldout("accuracy_low_ratio", "accuracy_low", "Lower end of that share's 95 % interval."),
    _heldout("accuracy_high_ratio", "accuracy_high", "Upper end of that share's 95 % interval."),
    _heldout("accuracy_per_token_ratio", "accuracy_mean", "The same share, with log-ratios per token."),
    _heldout("longer_ratio", "accuracy_longer", "What always preferring the longer response gets."),
    _heldout("calibration_error_ratio", "ece", "Expected calibration error of the judge."),
    _heldout("log_loss_nats", "log_loss", "Mean log-loss of the judge on held-out pairs."),
    _heldout("margin", "mean_margin", "Mean margin of the judge on held-out pairs, in units of reward."),
    _heldout("flipped_ratio", "flipped_share", "Held-out pairs that are judged otherwise than by the seed."),
    _heldout("pairs", "n", "Held-out pairs judged."),
    _responses("response_tokens", "mean_tokens", "Mean tokens of a response of the round's policy."),
    _responses("response_finished_ratio", "finished_share", "Responses that end by themselves (EOS)."),
    _responses("response_duplicate_ratio", "duplicate_share", "Responses that repeat another one."),
    _responses("response_empty_ratio", "empty_share", "Responses without text."),
    _responses("divergence_nats", "divergence", "KL per token from the initial model."),
    Measure("selfie_round_sampled_tokens", _SAMPLED, "generate", "mean_tokens"),
    *(
        Measure("selfie_round_margin", _MARGIN_TEXT, "score", name, (("quantile", quantile),))
        for name, quantile in (("margin_q10", "0.1"), ("margin_q50", "0.5"), ("margin_q90", "0.9"))
    ),
    Measure("selfie_round_confidence_ratio", "Mean of 2·|p − ½| of its judge.", "score", "mean_confidence"),
    Measure(
        "selfie_round_kept_ratio", "Pairs that the filter kept, of those judged.", "filter", "kept_share"
    ),
    Measure("selfie_round_noisy_ratio", "Pairs that the filter suspects.", "filter", "noisy_share"),
    _training("noisy_ratio", "noisy_share", "Times that training took a pair to be noisy (z = 1)."),
    _training("loss_nats", "loss_last", "Mean loss of the last optimizer step."),
    _training("accuracy_ratio", "train_accuracy", "Pairs with a positive margin in the last epoch."),
    _training("parity_error_nats", "parity_max_error", "Largest difference of scorer and trainer."),
    _training("parity_bound_nats", "parity_bound", "What that difference may be."),
)
"""Measures of manifests that are told of each round. The seed's training stands for round 0's."""

_TOKENS: Final = {
    "generated": ("generate", "evaluate-samples", "evaluate-initial"),
    "scored": ("score", "evaluate-heldout", "evaluate-measures"),
    "trained": ("seed", "train"),
}

HELP: Final[Mapping[str, str]] = {
    "selfie_run_info": "1; how the run stands, in labels.",
    "selfie_run_progress_ratio": "Steps published, of all, with the present one's own progress.",
    "selfie_run_step_progress_ratio": "How far the present step is.",
    "selfie_run_eta_seconds": "Estimate of what is left.",
    "selfie_run_start_timestamp_seconds": "When the run was first looked at.",
    "selfie_run_completion_timestamp_seconds": "When the run ended.",
    "selfie_run_active_seconds": "Time that counts for the run's deadline.",
    "selfie_run_deadline_seconds": "The run's deadline.",
    "selfie_run_stage_active_seconds": "Time that counts for the present stage's deadline.",
    "selfie_run_stage_deadline_seconds": "Deadline of each stage.",
    "selfie_run_attempts": "Attempt at the present step, from 1.",
    "selfie_run_restarts": "Starts of this attempt's pods or processes after the first.",
    "selfie_run_best_round": "Round with the highest held-out accuracy that crossed no gate.",
    "selfie_run_best_accuracy_ratio": "What that round was chosen by.",
    "selfie_round_pairs": "Pairs by what the filter did with them.",
    "selfie_round_breaches": "Gates that the round crossed.",
    "selfie_round_tokens": "Tokens generated, scored and trained on, in what is published.",
    "selfie_step_duration_seconds": "Time that the published attempt at a step took.",
    "selfie_step_accelerator_seconds": "The same times the accelerators that it held.",
    **{measure.family: measure.help for measure in MEASURES},
}
"""Every family of this module, with its help."""


def figures_of_run(sight: RunSight, now: datetime) -> Iterator[Sample]:
    """How a run stands; what has no basis is left out."""
    status, work = sight.status, sight.work
    labels = {
        "state": state_of(status),
        "reason": derived_reason(status),
        "stage": status.stage or "",
        "round": str(status.round),
    }
    yield "selfie_run_info", labels, 1.0
    values: dict[str, float | None] = {
        "selfie_run_progress_ratio": status.fraction,
        "selfie_run_step_progress_ratio": min(work.done / work.total, 1.0) if work and work.total else None,
        "selfie_run_eta_seconds": status.eta_seconds,
        "selfie_run_start_timestamp_seconds": _timestamp(status.start_time),
        "selfie_run_completion_timestamp_seconds": _timestamp(status.completion_time),
        "selfie_run_attempts": status.attempt,
        "selfie_run_restarts": status.restarts,
        "selfie_run_best_round": status.best.round if status.best else None,
        "selfie_run_best_accuracy_ratio": status.best.accuracy if status.best else None,
        **(_deadlines(sight, now) if not status.is_terminal else {}),
    }
    yield from ((name, {}, float(value)) for name, value in values.items() if value is not None)


def figures_of_rounds(sight: RunSight) -> Iterator[Sample]:
    """What its newest rounds came to, and their steps; what has no basis is left out."""
    newest = sorted({step.round for step, _ in _published(sight)})[-MAX_ROUNDS:]
    for number in newest:
        yield from _of_round(sight, number)
    for step, manifest in _published(sight):
        if step.round in newest and manifest.seconds is not None:
            labels = {"round": str(step.round), "step": step.name}
            yield "selfie_step_duration_seconds", labels, manifest.seconds
            if sight.spec is not None:
                held = manifest.seconds * accelerators_of(sight.spec, step)
                yield "selfie_step_accelerator_seconds", labels, held


def _deadlines(sight: RunSight, now: datetime) -> dict[str, float | None]:
    limits = sight.spec.deadlines if sight.spec is not None else None
    return {
        "selfie_run_active_seconds": active_seconds(sight.status, now),
        "selfie_run_deadline_seconds": limits.run_seconds if limits else None,
        "selfie_run_stage_active_seconds": stage_seconds(sight.status, now),
        "selfie_run_stage_deadline_seconds": limits.stage_seconds if limits else None,
    }


def _of_round(sight: RunSight, number: int) -> Iterator[Sample]:
    label = {"round": str(number)}
    for measure in MEASURES:
        manifest = sight.manifests.get(_step_of(number, measure.step).path)
        value = finite(manifest.measures).get(measure.name) if manifest else None
        if value is not None:
            yield measure.family, {**label, **dict(measure.labels)}, value
    filtered = sight.manifests.get(Step(number, "filter").path)
    for outcome, count in sorted(filtered.counts.items()) if filtered else ():
        yield "selfie_round_pairs", {**label, "outcome": outcome}, float(count)
    for kind, names in _TOKENS.items():
        found = [sight.manifests.get(Step(number, name).path) for name in names]
        tokens = [manifest.counts.get("tokens", 0) for manifest in found if manifest]
        if tokens:
            yield "selfie_round_tokens", {**label, "kind": kind}, float(sum(tokens))
    yield "selfie_round_breaches", label, float(_breaches(sight.status, number))


def _breaches(status: RunStatus, number: int) -> int:
    return sum(len(entry.breaches) for entry in status.rounds if entry.round == number)


def _step_of(number: int, name: str) -> Step:
    return Step(0, "seed") if (number, name) == (0, "train") else Step(number, name)


def _published(sight: RunSight) -> Iterator[tuple[Step, ManifestSummary]]:
    for path, manifest in sight.manifests.items():
        step = step_at(path)
        if step is not None:
            yield step, manifest


def _timestamp(time: datetime | None) -> float | None:
    return time.timestamp() if time else None
