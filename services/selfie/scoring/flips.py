"""How many labelled pairs are judged otherwise than before, by the seed's policy."""

from selfie.artifacts.manifests import ManifestRef, read_ref
from selfie.artifacts.shards import read_group
from selfie.artifacts.store import Store
from selfie.scoring.judged import Fields

_COLUMNS = ("pair_id", "margin", "tie_band")


class Flips:
    """Holds pairs against the same ones in an earlier scoring; a tie is a judgement of its own.

    Without an earlier one, or where it has none of the pairs, nothing is measured.
    """

    def __init__(self, store: Store, before: ManifestRef | None) -> None:
        self._before = {} if before is None else _judged(store, before)
        self._compared = 0
        self._flipped = 0

    def add(self, pair: Fields) -> None:
        """One pair by PAIR_SCHEMA."""
        found = self._before.get(pair["pair_id"])
        if found is not None:
            self._compared += 1
            self._flipped += _judgement(pair) != found

    def measures(self) -> dict[str, float]:
        """``flipped_share`` of the pairs that both have."""
        return {"flipped_share": self._flipped / self._compared} if self._compared else {}


def _judged(store: Store, ref: ManifestRef) -> dict[str, int]:
    manifest = read_ref(store, ref)
    if not any(entry.group == "pairs" for entry in manifest.files):
        return {}
    rows = read_group(store, manifest, "pairs").select(list(_COLUMNS)).to_pylist()
    return {row["pair_id"]: _judgement(row) for row in rows}


def _judgement(pair: Fields) -> int:
    """1 for the chosen one, -1 for the other, 0 within the judge's own error."""
    margin = pair["margin"]
    return 0 if abs(margin) <= pair["tie_band"] else 1 if margin > 0 else -1
