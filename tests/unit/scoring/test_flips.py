"""How many pairs are judged otherwise than in an earlier scoring."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from selfie.artifacts.manifests import Manifest, ManifestRef, publish
from selfie.artifacts.shards import write_shard
from selfie.artifacts.store import Store, open_store
from selfie.scoring.flips import Flips

SCHEMA = pa.schema([("pair_id", pa.string()), ("margin", pa.float64()), ("tie_band", pa.float64())])
NOW = "2026-01-01T00:00:00Z"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(tmp_path.as_uri())


@pytest.fixture
def judged(store: Store) -> Callable[..., ManifestRef]:
    """Publishes an earlier scoring of pairs by their margins."""

    def make(margins: dict[str, float], group: str = "pairs") -> ManifestRef:
        rows = [pair(name, margin) for name, margin in margins.items()]
        table = pa.Table.from_pylist(rows, schema=SCHEMA)
        entry = write_shard(store, "s/a1/x.parquet", table, schema=SCHEMA, group=group, name="x.parquet")
        manifest = Manifest(
            run_uid="u",
            round=0,
            step="s",
            attempt=1,
            writer="w",
            started_at=NOW,
            finished_at=NOW,
            files=(entry,),
        )
        return publish(store, manifest)

    return make


def pair(name: str, margin: float) -> dict[str, Any]:
    return {"pair_id": name, "margin": margin, "tie_band": 0.01}


def test_the_share_is_of_pairs_that_both_have_judged(store: Store, judged: Callable[..., ManifestRef]):
    flips = Flips(store, judged({"same": 1.0, "turned": 1.0, "tied": 1.0, "still": -1.0}))
    for name, margin in {"same": 0.5, "turned": -0.5, "tied": 0.005, "still": -2.0, "new": 1.0}.items():
        flips.add(pair(name, margin))
    assert flips.measures() == {"flipped_share": 0.5}


def test_nothing_is_measured_against_nothing(store: Store, judged: Callable[..., ManifestRef]):
    without, other = Flips(store, None), Flips(store, judged({"a": 1.0}, group="responses"))
    for flips in (without, other):
        flips.add(pair("a", 1.0))
        assert flips.measures() == {}
