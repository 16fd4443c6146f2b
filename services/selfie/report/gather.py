"""Reads the facts of a run from its store: manifests first, then the rows that they name."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from selfie.artifacts.manifests import Manifest, read_manifest
from selfie.artifacts.store import Store
from selfie.report.agreements import agreement_of
from selfie.report.audits import audit_labels, longer_share
from selfie.report.comparisons import adjusted, compare
from selfie.report.facts import RoundFacts, RunFacts, StepFacts
from selfie.report.heldout import JudgeFacts, column, judge_facts
from selfie.report.ratings import Rated, quality_of, rate
from selfie.report.reading import kept_of, read_baselines, read_heldout, rows_of
from selfie.report.samples import choose_samples
from selfie.runs.load import dump_run
from selfie.runs.spec import SelfieRun
from selfie.runs.status import RunStatus, derived_message, derived_reason
from selfie.runs.steps import EVALUATOR, steps_of

EMPTY = np.zeros(0)


def gather(store: Store, run: SelfieRun, status: RunStatus) -> RunFacts:
    """All that a report says, from what has been published so far."""
    manifests = _manifests(store, run)
    evaluator = run.spec.evaluation.evaluator
    baselines = read_baselines(store, evaluator)
    rounds = []
    for number in sorted({entry.round for step, entry in manifests.items() if step.startswith("rounds/")}):
        mine = {
            step.rsplit("/", 1)[1]: manifest
            for step, manifest in manifests.items()
            if step.startswith("rounds/") and manifest.round == number
        }
        # What a round is a baseline of itself for says nothing.
        others = {name: rated for name, rated in baselines.items() if number > 0 or name != "seed"}
        rounds.append(_round(store, evaluator, mine, others))
    # What was taken over from another run took this one no time.
    times = [(made.started_at, made.finished_at) for made in manifests.values() if not made.adopted]
    return RunFacts(
        name=run.metadata.name,
        state=derived_reason(status),
        message=derived_message(status),
        best_round=status.best.round if status.best else None,
        spec_yaml=dump_run(run),
        evaluator=evaluator,
        agreement=agreement_of(manifests.get(EVALUATOR.path)),
        refinement=run.spec.training.refinement,
        rounds=_compared(rounds),
        seconds=sum((end - start).total_seconds() for start, end in times),
        digests={
            step: manifest.weights_digest for step, manifest in manifests.items() if manifest.weights_digest
        },
    )


def _manifests(store: Store, run: SelfieRun) -> dict[str, Manifest]:
    found = ((step.path, read_manifest(store, step.path)) for step in steps_of(run.spec))
    return {path: manifest for path, manifest in found if manifest is not None}


def _round(
    store: Store, evaluator: str, manifests: Mapping[str, Manifest], baselines: Mapping[str, Rated]
) -> RoundFacts:
    heldout = read_heldout(store, manifests.get("evaluate-heldout"))
    judge = judge_facts(heldout) if heldout else None
    pairs = rows_of(store, manifests.get("filter"), "pairs")
    kept = kept_of(pairs)
    responses = rate(
        evaluator,
        rows_of(store, manifests.get("evaluate-measures"), "responses"),
        rows_of(store, manifests.get("evaluate-ratings"), "ratings"),
    )
    return RoundFacts(
        number=next(iter(manifests.values())).round,
        steps={name: _step(name, manifest, judge) for name, manifest in manifests.items()},
        margins=column(kept, "margin") if kept is not None else EMPTY,
        heldout=heldout,
        judge=judge,
        audit=audit_labels(evaluator, kept, rows_of(store, manifests.get("train"), "noise")),
        longer=longer_share(kept),
        quality=quality_of(responses, baselines),
        samples=choose_samples(pairs) if pairs is not None else (),
    )


def _compared(rounds: Sequence[RoundFacts]) -> tuple[RoundFacts, ...]:
    found = adjusted([compare(facts.heldout, rounds[0].heldout) for facts in rounds[1:]])
    later = (replace(facts, comparisons=each) for facts, each in zip(rounds[1:], found, strict=True))
    return (*rounds[:1], *later)


def _step(name: str, manifest: Manifest, judge: JudgeFacts | None) -> StepFacts:
    seconds = (manifest.finished_at - manifest.started_at).total_seconds()
    # The scorer's `accuracy` is that of the run's own reading, which may be the one per token.
    summed = _summed_accuracy(judge) if judge and name == "evaluate-heldout" else {}
    origin = manifest.adopted.run_uri if manifest.adopted else ""
    return StepFacts(name, seconds, manifest.counts, {**manifest.measures, **summed}, origin)


def _summed_accuracy(judge: JudgeFacts) -> Mapping[str, float]:
    share = judge.figures["summed"].accuracy["all"]
    return {"accuracy_sum": share.value, "accuracy_sum_low": share.low, "accuracy_sum_high": share.high}
