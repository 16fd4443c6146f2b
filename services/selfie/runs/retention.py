"""Which checkpoints a run may let go of: those that nobody chose to keep and no step can read any more.

Kept are the best round's, the newest ones of `spec.retention`, and whatever a step that is still to
be done reads by its lineage. Three things lie in the future and are reckoned with:

- A round may be added at the end while the run has not ended. So one more is always taken to come.
- A round that is not measured yet may breach, and with ``onBreach: fallBack`` the next one then
  starts from the best round. That is today's best (round 0 while there is none), or a round that
  becomes the best until then, which is one of those not measured yet: at most the newest published
  one, and that is kept. No other round can be fallen back to, however the measures turn out.
- With the judge's reference `previous`, a round that is fallen back to is judged against what it
  started from itself, which is therefore kept beside it.

So what may go once may always go. What `prepare` made never does: everything begins there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from selfie.runs.evaluations import RoundEvaluation, evaluations_of
from selfie.runs.lineage import Source, added_rounds, fall_back_sources, sources_of
from selfie.runs.observed import ManifestSummary
from selfie.runs.spec import RunSpec
from selfie.runs.status import RunStatus
from selfie.runs.steps import Step, steps_of

CHECKPOINT: Final = "checkpoint"
"""Group of a trained and of a published policy's files in the manifest of its step."""


@dataclass(frozen=True)
class Dispensable:
    """A group of a step's files that may go, and why."""

    step: str
    group: str
    reason: str


def dispensable_of(
    spec: RunSpec, status: RunStatus, manifests: Mapping[str, ManifestSummary]
) -> tuple[Dispensable, ...]:
    """What may go by these manifests, and by the status that was written of them."""
    best = status.best.round if status.best else None
    evaluations = evaluations_of(spec, manifests)
    return dispensable(spec, manifests, evaluations, best=best, ended=status.is_terminal)


def dispensable(
    spec: RunSpec,
    manifests: Mapping[str, ManifestSummary],
    evaluations: Sequence[RoundEvaluation],
    *,
    best: int | None,
    ended: bool,
) -> tuple[Dispensable, ...]:
    """Every checkpoint that may go by now, also those that went long ago, in the order of the rounds.

    ``best`` is the best round that people were told of (`RunStatus.best`); the one that the
    measures say is kept as well. ``ended``: the run is terminal, and no round can be added.
    """
    read = _still_read(spec, manifests, evaluations, ended=ended)
    published = [number for number in range(len(spec.rounds) + 1) if _publication(number).path in manifests]
    newest = published[-spec.retention.checkpoints :]
    measured = evaluations[-1].best if evaluations else None
    found: list[Dispensable] = []
    for number in published:
        trained, publication = _training(number), _publication(number)
        kept = number in newest or number in {best, measured}
        if not kept and Source(publication.path, CHECKPOINT) not in read:
            why = f"round {number} is not the best, is not among the newest {spec.retention.checkpoints}"
            found.append(
                Dispensable(publication.path, CHECKPOINT, f"{why}, and no step that is left reads it")
            )
        if trained.path in manifests and Source(trained.path, CHECKPOINT) not in read:
            why = f"{publication.path} has taken it over, and no step that is left reads it"
            found.append(Dispensable(trained.path, CHECKPOINT, why))
    return tuple(found)


def _still_read(
    spec: RunSpec,
    manifests: Mapping[str, ManifestSummary],
    evaluations: Sequence[RoundEvaluation],
    *,
    ended: bool,
) -> frozenset[Source]:
    if not ended:
        spec = spec.model_copy(update={"rounds": (*spec.rounds, spec.rounds[-1])})
    added = added_rounds(spec, manifests)
    left = [step for step in steps_of(spec, added) if step.path not in manifests]
    if not left:
        return frozenset()
    named = {source for step in left for source in sources_of(spec, step, evaluations, added).values()}
    return fall_back_sources(spec, evaluations) | named


def _training(number: int) -> Step:
    return Step(number, "train" if number else "seed")


def _publication(number: int) -> Step:
    return Step(number, "publish")
