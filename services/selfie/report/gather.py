"""Reads the facts of a run from its store: manifests first, then the rows that they name."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from selfie.artifacts.manifests import Manifest, read_manifest
from selfie.artifacts.shards import read_group
from selfie.artifacts.store import Store
from selfie.report.audits import audit_labels, rate_responses
from selfie.report.comparisons import column, compare, credits_of, summed_accuracy
from selfie.report.facts import Floats, RoundFacts, RunFacts, StepFacts
from selfie.report.samples import choose_samples
from selfie.runs.load import dump_run
from selfie.runs.spec import SelfieRun
from selfie.runs.status import RunStatus, derived_message, derived_reason
from selfie.runs.steps import steps_of

EMPTY = np.zeros(0)


def gather(store: Store, run: SelfieRun, status: RunStatus) -> RunFacts:
    """All that a report says, from what has been published so far."""
    manifests = _manifests(store, run)
    seed_measures = manifests.get("rounds/00/evaluate-measures")
    seed_responses = None if seed_measures is None else read_group(store, seed_measures, "responses")
    rounds: list[RoundFacts] = []
    for number in sorted(
        {manifest.round for step, manifest in manifests.items() if step.startswith("rounds/")}
    ):
        mine = {
            step.rsplit("/", 1)[1]: manifest
            for step, manifest in manifests.items()
            if step.startswith("rounds/") and manifest.round == number
        }
        rounds.append(_round(store, run, mine, rounds[0] if rounds else None, seed_responses))
    times = [(manifest.started_at, manifest.finished_at) for manifest in manifests.values()]
    return RunFacts(
        name=run.metadata.name,
        state=derived_reason(status),
        message=derived_message(status),
        best_round=status.best.round if status.best else None,
        spec_yaml=dump_run(run),
        evaluator=run.spec.evaluation.evaluator,
        refinement=run.spec.training.refinement,
        rounds=tuple(rounds),
        seconds=sum((end - start).total_seconds() for start, end in times),
        digests={
            step: manifest.weights_digest for step, manifest in manifests.items() if manifest.weights_digest
        },
    )


def _manifests(store: Store, run: SelfieRun) -> dict[str, Manifest]:
    found = ((step.path, read_manifest(store, step.path)) for step in steps_of(run.spec))
    return {path: manifest for path, manifest in found if manifest is not None}


def _round(
    store: Store,
    run: SelfieRun,
    manifests: Mapping[str, Manifest],
    first: RoundFacts | None,
    seed_responses: pa.Table | None,
) -> RoundFacts:
    number = next(iter(manifests.values())).round
    judged = credits_of(_rows(store, manifests, "evaluate-heldout", "pairs"))
    steps = {name: _step(name, manifest, judged) for name, manifest in manifests.items()}
    pairs = _rows(store, manifests, "filter", "pairs")
    responses = _rows(store, manifests, "evaluate-measures", "responses")
    evaluator = run.spec.evaluation.evaluator
    kept = pairs.filter(pairs["kept"]) if pairs is not None else None
    return RoundFacts(
        number=number,
        steps=steps,
        margins=_column(kept, "margin"),
        credits=judged,
        comparisons=compare(judged, first.credits) if first else (),
        audit=audit_labels(evaluator, kept, _rows(store, manifests, "train", "noise")),
        quality=rate_responses(evaluator, responses, seed_responses if number > 0 else None),
        samples=choose_samples(pairs) if pairs is not None else (),
    )


def _step(name: str, manifest: Manifest, judged: Mapping[str, Floats]) -> StepFacts:
    seconds = (manifest.finished_at - manifest.started_at).total_seconds()
    # The scorer's `accuracy` is that of the run's own reading, which may be the one per token.
    summed = summed_accuracy(judged) if name == "evaluate-heldout" else {}
    return StepFacts(name, seconds, manifest.counts, {**manifest.measures, **summed})


def _rows(store: Store, manifests: Mapping[str, Manifest], step: str, group: str) -> pa.Table | None:
    manifest = manifests.get(step)
    if manifest is None or not any(entry.group == group for entry in manifest.files):
        return None
    return read_group(store, manifest, group)


def _column(table: pa.Table | None, name: str) -> Floats:
    return EMPTY if table is None else column(table, name)
