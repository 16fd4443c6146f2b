"""FilterDataset: the pairs of a scoring step, all at once, with their labels.

The threshold is a quantile over the whole data set, so nothing is labelled before everything is
read. Pairs that are left out stay in the data set, marked, so that a round can be audited.
"""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from selfie.artifacts.manifests import FileEntry, Manifest, ManifestRef, read_ref
from selfie.artifacts.rows import PAIR_SCHEMA
from selfie.artifacts.shards import read_shard
from selfie.filtering.metrics import count_pairs
from selfie.filtering.rules import Candidate, Label, Rules, counts, label_pairs, measures
from selfie.rpc.operation_context import OperationContext

GROUP = "pairs"
_JUDGED_COLUMNS = (
    "margin",
    "extrapolated_margin",
    "tie_band",
    "prompt_digest",
    "chosen_text",
    "rejected_text",
)
_LABEL_COLUMNS = ("kept", "reason", "noisy", "suspicions", "threshold", "soft_label")


def filter_dataset(context: OperationContext, source: ManifestRef, rules: Rules) -> Manifest:
    """Labels the pairs of ``source`` and returns what to publish: its group ``pairs``, shard by shard."""
    judged = read_ref(context.store, source)
    tables = [read_shard(context.store, entry) for entry in judged.group(GROUP)]
    labels = label_pairs([candidate for table in tables for candidate in _candidates(table)], rules)
    finished = context.finished_shards(GROUP)
    found = counts(labels)
    count_pairs(found)
    files, start = [], 0
    for index, table in enumerate(tables):
        own = labels[start : start + table.num_rows]
        start += table.num_rows
        files.append(finished.get(index) or _write(context, table, own, index))
        context.progress(start, len(labels))
    return context.manifest(
        files=tuple(files),
        inputs={"input": source.sha256, **_weights_of(judged)},
        parameters=_parameters(rules),
        counts=found,
        measures=measures(labels),
    )


def _candidates(table: pa.Table) -> list[Candidate]:
    names = {"pair_id": "id"} | {name: name for name in _JUDGED_COLUMNS}
    finished = zip(
        table["chosen_finish_reason"].to_pylist(), table["rejected_finish_reason"].to_pylist(), strict=True
    )
    rows = table.select(list(names)).rename_columns(list(names.values())).to_pylist()
    return [
        Candidate(**row, chosen_cut=chosen == "length", rejected_cut=rejected == "length")
        for row, (chosen, rejected) in zip(rows, finished, strict=True)
    ]


def _write(context: OperationContext, table: pa.Table, labels: list[Label], index: int) -> FileEntry:
    rows = [{name: getattr(label, name) for name in _LABEL_COLUMNS} for label in labels]
    columns = pa.Table.from_pylist(
        rows, schema=pa.schema([PAIR_SCHEMA.field(name) for name in _LABEL_COLUMNS])
    )
    for name in _LABEL_COLUMNS:
        table = table.set_column(table.schema.get_field_index(name), name, columns[name])
    return context.write_shard(table, schema=PAIR_SCHEMA, group=GROUP, index=index)


def _weights_of(judged: Manifest) -> Mapping[str, str]:
    """What the pairs were judged by; labels rest on it too."""
    return {name: digest for name, digest in judged.inputs.items() if name != "input"}


def _parameters(rules: Rules) -> dict[str, Any]:
    return {
        "noisyPercent": rules.noisy_percent,
        "smoothing": rules.smoothing,
        "action": rules.action,
        "cut": rules.cut,
        "keepTies": rules.keep_ties,
        "keepDuplicates": rules.keep_duplicates,
    }
