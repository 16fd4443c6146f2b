"""Reads from a run's store what its judges and its responses are measured by."""

import pyarrow as pa

from selfie.artifacts.manifests import Manifest, read_manifest
from selfie.artifacts.shards import read_group
from selfie.artifacts.store import Store
from selfie.report.heldout import HeldoutPairs, heldout_of
from selfie.report.ratings import BASELINES, Place, Rated, rate


def read_baselines(store: Store, evaluator: str) -> dict[str, Rated]:
    """The rated responses that a run's are held against, by name, as far as they are published."""
    found = {}
    for baseline in BASELINES:
        responses, ratings = (_read(store, place) for place in (baseline.responses, baseline.ratings))
        if rated := rate(evaluator, responses, ratings):
            found[baseline.name] = rated
    return found


def _read(store: Store, place: Place) -> pa.Table | None:
    manifest = read_manifest(store, place.step)
    there = {entry.group for entry in manifest.files} if manifest else set()
    group = next((name for name in place.groups if name in there), None)
    return rows_of(store, manifest, group) if group else None


def read_heldout(store: Store, manifest: Manifest | None) -> HeldoutPairs | None:
    """The held-out pairs as a round's judge read them; None where there are none."""
    without_reference = bool(manifest and manifest.parameters.get("withoutReference"))
    return heldout_of(rows_of(store, manifest, "pairs"), without_reference=without_reference)


def kept_of(pairs: pa.Table | None) -> pa.Table | None:
    """Of a filter's pairs those that it kept."""
    return None if pairs is None else pairs.filter(pairs["kept"])


def rows_of(store: Store, manifest: Manifest | None, group: str) -> pa.Table | None:
    """The rows of a group; None where the step is not published, or has no such group."""
    if manifest is None or not any(entry.group == group for entry in manifest.files):
        return None
    return read_group(store, manifest, group)
