"""Chooses self-made pairs that are worth reading: the surest, a middling one, the doubtful."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from selfie.report.facts import SamplePair


def choose_samples(pairs: pa.Table) -> tuple[SamplePair, ...]:
    """Up to five pairs of a round, spread over how sure the judge was, with one that was left out."""
    kept = pairs.filter(pairs["kept"]).sort_by([("margin", "descending")]).to_pylist()
    chosen: list[tuple[str, dict[str, Any]]] = []
    if kept:
        places = {0: "the surest", len(kept) // 2: "the median", len(kept) - 1: "the least sure"}
        chosen += [(note, kept[index]) for index, note in sorted(places.items())]
        chosen += [("taken to be noisy", row) for row in kept if row["noisy"]][:1]
    dropped = pairs.filter(pc.invert(pairs["kept"])).slice(0, 1).to_pylist()
    chosen += [(f"left out: {row['reason']}", row) for row in dropped]
    return tuple(_sample(note, row) for note, row in chosen)


def _sample(note: str, row: dict[str, Any]) -> SamplePair:
    return SamplePair(
        prompt=str(row["messages"][-1]["content"]),
        chosen=row["chosen_text"],
        rejected=row["rejected_text"],
        margin=row["margin"],
        probability=row["probability"],
        note=note,
    )
