"""Reads the facts of a run from its store: manifests first, then the rows that they name."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from selfie.artifacts.manifests import Manifest, read_manifest
from selfie.artifacts.shards import read_group
from selfie.artifacts.store import Store
from selfie.method.statistics import mcnemar_exact, pair_credits, paired_bootstrap
from selfie.report.audits import audit_labels, rate_responses
from selfie.report.facts import Comparison, Floats, RoundFacts, RunFacts, StepFacts
from selfie.report.samples import choose_samples
from selfie.runs.load import dump_run
from selfie.runs.spec import SelfieRun
from selfie.runs.status import RunStatus, derived_message, derived_reason
from selfie.runs.steps import steps_of

EMPTY = np.zeros(0)


def gather(store: Store, run: SelfieRun, status: RunStatus) -> RunFacts:
    """All that a report says, from what has been published so far."""
    manifests = _manifests(store, run)
    rounds: list[RoundFacts] = []
    for number in sorted({manifest.round for step, manifest in manifests.items() if step != "prepare"}):
        mine = {
            step.rsplit("/", 1)[1]: manifest
            for step, manifest in manifests.items()
            if step != "prepare" and manifest.round == number
        }
        rounds.append(_round(store, run, number, mine, rounds[0] if rounds else None))
    times = [(manifest.started_at, manifest.finished_at) for manifest in manifests.values()]
    return RunFacts(
        name=run.metadata.name,
        state=derived_reason(status),
        message=derived_message(status),
        best_round=status.best.round if status.best else None,
        spec_yaml=dump_run(run),
        evaluator=run.spec.evaluation.evaluator,
        judge=run.spec.scoring.length_normalization,
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
    store: Store, run: SelfieRun, number: int, manifests: Mapping[str, Manifest], first: RoundFacts | None
) -> RoundFacts:
    steps = {name: _step(name, manifest) for name, manifest in manifests.items()}
    pairs = _rows(store, manifests, "filter", "pairs")
    heldout = _rows(store, manifests, "evaluate-heldout", "pairs")
    responses = _rows(store, manifests, "evaluate-measures", "responses")
    first_responses = _first_responses(store) if number > 0 else None
    evaluator = run.spec.evaluation.evaluator
    kept = pairs.filter(pairs["kept"]) if pairs is not None else None
    margins, margins_mean = _column(heldout, "margin"), _column(heldout, "margin_mean")
    return RoundFacts(
        number=number,
        steps=steps,
        margins=_column(kept, "margin"),
        confidences=_column(kept, "confidence"),
        heldout_margins=margins,
        heldout_margins_mean=margins_mean,
        comparisons=_comparisons(first, margins, margins_mean),
        audit=audit_labels(evaluator, kept, _rows(store, manifests, "train", "noise")),
        quality=rate_responses(evaluator, responses, first_responses),
        samples=choose_samples(pairs) if pairs is not None else (),
    )


def _first_responses(store: Store) -> pa.Table | None:
    manifest = read_manifest(store, "rounds/00/evaluate-measures")
    return None if manifest is None else read_group(store, manifest, "responses")


def _step(name: str, manifest: Manifest) -> StepFacts:
    seconds = (manifest.finished_at - manifest.started_at).total_seconds()
    return StepFacts(name, seconds, manifest.counts, manifest.measures)


def _rows(store: Store, manifests: Mapping[str, Manifest], step: str, group: str) -> pa.Table | None:
    manifest = manifests.get(step)
    if manifest is None or not any(entry.group == group for entry in manifest.files):
        return None
    return read_group(store, manifest, group)


def _column(table: pa.Table | None, name: str) -> Floats:
    return (
        EMPTY if table is None else np.asarray(table[name].to_numpy(zero_copy_only=False), dtype=np.float64)
    )


def _comparisons(first: RoundFacts | None, margins: Floats, margins_mean: Floats) -> tuple[Comparison, ...]:
    if first is None or not margins.size:
        return ()
    return tuple(
        Comparison(
            versus=f"seed, {judge} judge",
            difference=paired_bootstrap(pair_credits(mine), pair_credits(theirs), seed=0),
            mcnemar=mcnemar_exact(pair_credits(mine), pair_credits(theirs)),
        )
        for judge, mine, theirs in (
            ("summed", margins, first.heldout_margins),
            ("length-normalised", margins_mean, first.heldout_margins_mean),
        )
    )
