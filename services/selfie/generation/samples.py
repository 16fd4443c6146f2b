"""Rows of a generated data set, and the numbers that sum it up. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import Any

import pyarrow as pa

from selfie.artifacts.rows import SAMPLE_SCHEMA
from selfie.generation.engines import EngineIdentity, Sample


def sample_table(
    prompts: pa.Table, samples: Sequence[Sequence[Sample]], identity: EngineIdentity
) -> pa.Table:
    """Rows by `SAMPLE_SCHEMA`: every prompt's row once for each of its samples, in order."""
    repeated = [row for row, drawn in enumerate(samples) for _ in drawn]
    drawn = [sample for of_prompt in samples for sample in of_prompt]
    columns = {
        "sample_index": [index for of_prompt in samples for index in range(len(of_prompt))],
        "seed": [sample.seed for sample in drawn],
        "response_text": [sample.text for sample in drawn],
        "response_ids": [sample.response_ids for sample in drawn],
        "ids_from": [sample.ids_from for sample in drawn],
        "finish_reason": [sample.finish_reason for sample in drawn],
        "policy_digest": [identity.weights_digest] * len(drawn),
        "engine": [identity.engine] * len(drawn),
    }
    table = prompts.take(repeated)
    for name, values in columns.items():
        field = SAMPLE_SCHEMA.field(name)
        table = table.append_column(field, pa.array(values, type=field.type))
    return table


@dataclass(frozen=True, slots=True)
class Tally:
    """What a table of samples holds, by count; `duplicates` repeat an earlier sample of their prompt."""

    prompts: int = 0
    samples: int = 0
    tokens: int = 0
    cut: int = 0
    empty: int = 0
    duplicates: int = 0
    truncated_prompts: int = 0
    retokenized: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        theirs = other.counts
        return Tally(**{name: count + theirs[name] for name, count in self.counts.items()})

    @property
    def counts(self) -> dict[str, int]:
        """Counts of the manifest."""
        return asdict(self)

    @property
    def measures(self) -> dict[str, float]:
        """Measures of the manifest; none of nothing."""
        if not self.samples:
            return {}
        return {
            "mean_tokens": self.tokens / self.samples,
            "finished_share": (self.samples - self.cut) / self.samples,
            "empty_share": self.empty / self.samples,
            "duplicate_share": self.duplicates / self.samples,
        }


def tally(table: pa.Table) -> Tally:
    """Counts a table by `SAMPLE_SCHEMA` that holds all samples of each of its prompts."""
    first = [index == 0 for index in table.column("sample_index").to_pylist()]
    responses = [tuple(ids) for ids in table.column("response_ids").to_pylist()]
    # Which prompt a row is of: the same chat may be in a data set twice.
    places = accumulate(first)
    truncated = table.column("truncated").to_pylist()
    return Tally(
        prompts=sum(first),
        samples=table.num_rows,
        tokens=sum(len(ids) for ids in responses),
        cut=_count(table, "finish_reason", lambda reason: reason == "length"),
        empty=_count(table, "response_text", lambda text: not text.strip()),
        duplicates=table.num_rows - len(set(zip(places, responses, strict=True))),
        truncated_prompts=sum(1 for new, cut in zip(first, truncated, strict=True) if new and cut),
        retokenized=_count(table, "ids_from", lambda source: source == "retokenized"),
    )


def _count(table: pa.Table, column: str, holds: Callable[[Any], bool]) -> int:
    return sum(1 for value in table.column(column).to_pylist() if holds(value))
