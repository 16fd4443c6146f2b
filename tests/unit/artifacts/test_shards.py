"""Rows in, the same rows out, from the same bytes for the same rows."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from selfie.artifacts.manifests import FileEntry, Manifest
from selfie.artifacts.rows import (
    PAIR_SCHEMA,
    PREFERENCE_SCHEMA,
    PROMPT_SCHEMA,
    SAMPLE_SCHEMA,
    SCORED_SCHEMA,
)
from selfie.artifacts.shards import read_group, read_shard, write_shard
from selfie.artifacts.store import Store
from selfie.errors import DataCorrupted, InvalidInput, NotFound

SCHEMAS = {
    "prompts": PROMPT_SCHEMA,
    "preferences": PREFERENCE_SCHEMA,
    "samples": SAMPLE_SCHEMA,
    "scored": SCORED_SCHEMA,
    "pairs": PAIR_SCHEMA,
}


def example(kind: pa.DataType, number: int) -> Any:
    """Some value of the type that differs with ``number``."""
    if pa.types.is_list(kind):
        return [example(kind.value_type, number + i) for i in range(number % 3)]
    if pa.types.is_struct(kind):
        return {field.name: example(field.type, number) for field in kind}
    if pa.types.is_boolean(kind):
        return number % 2 == 0
    if pa.types.is_floating(kind):
        return number / 7
    if pa.types.is_uint64(kind):
        return 2**64 - 1 - number
    return number if pa.types.is_integer(kind) else f"value {number} “ü”"


def table_of(schema: pa.Schema, rows: int) -> pa.Table:
    return pa.table({f.name: [example(f.type, i) for i in range(rows)] for f in schema}, schema=schema)


def write(
    store: Store, table: pa.Table, path: str = "a1/rows-00000-w1.parquet", **schema: pa.Schema
) -> FileEntry:
    return write_shard(
        store, path, table, group="rows", name="rows-00000.parquet", **(schema or {"schema": table.schema})
    )


@pytest.mark.parametrize("name", SCHEMAS)
def test_rows_of_every_schema_come_back_with_their_documentation(store: Store, name: str) -> None:
    table = table_of(SCHEMAS[name], 7)
    entry = write(store, table)
    found = read_shard(store, entry)
    assert found.equals(table)
    assert found.schema.equals(SCHEMAS[name])
    assert all(field.metadata[b"doc"] for field in found.schema)
    assert (entry.rows, entry.name) == (7, "rows-00000.parquet")


def test_a_shard_may_be_empty(store: Store) -> None:
    assert read_shard(store, write(store, table_of(SAMPLE_SCHEMA, 0))).num_rows == 0


def test_equal_rows_are_equal_bytes_however_the_table_was_put_together(store: Store) -> None:
    table = table_of(SCORED_SCHEMA, 300)
    pieces = pa.concat_tables([table.slice(start, 37) for start in range(0, 300, 37)])
    in_a_longer_one = pa.concat_tables([table, table.slice(0, 9)]).combine_chunks().slice(0, 300)
    shuffled = table.select(list(reversed(table.column_names))).replace_schema_metadata({"pandas": "index"})
    written = {
        write(store, t, schema=SCORED_SCHEMA).sha256 for t in (table, pieces, in_a_longer_one, shuffled)
    }
    assert len(written) == 1
    assert write(store, table.slice(1)).sha256 not in written


def test_pieces_do_not_show_in_the_pages_of_a_long_shard_either(store: Store) -> None:
    table = pa.table({"response_text": [f"response {number} " * 5 for number in range(40_000)]})
    pieces = pa.concat_tables([table.slice(start, 1500) for start in range(0, 40_000, 1500)])
    assert write(store, table).sha256 == write(store, pieces).sha256


def test_columns_are_cast_reordered_and_filled_up(store: Store) -> None:
    rows = {
        "truncated": [False],
        "prompt_id": pa.array(["p"], pa.large_string()),
        "messages": [[{"content": "Hello?", "role": "user"}]],
        "prompt_ids": pa.array([[1, 2]], pa.list_(pa.int64())),
        "prompt_digest": ["d"],
    }
    found = read_shard(store, write(store, pa.table(rows), schema=PROMPT_SCHEMA))
    assert found.schema.equals(PROMPT_SCHEMA)
    assert found.to_pylist() == [
        {
            "prompt_id": "p",
            "messages": [{"role": "user", "content": "Hello?"}],
            "prompt_ids": [1, 2],
            "prompt_digest": "d",
            "truncated": False,
            "source": None,
        }
    ]


@pytest.mark.parametrize(
    ("change", "column"),
    [
        (lambda t: t.drop_columns(["prompt_ids"]), "prompt_ids"),
        (lambda t: t.append_column("extra", pa.array([1, 2])), "extra"),
        (lambda t: t.append_column("source", t.column("source")), "source"),
        (lambda t: t.set_column(0, "prompt_id", pa.array(["p", None])), "prompt_id"),
        (lambda t: t.set_column(4, "truncated", pa.array(["maybe", "no"])), "truncated"),
        (lambda t: t.set_column(2, "prompt_ids", pa.array([[2**40], []])), "prompt_ids"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_by_column_and_nothing_is_written(
    store: Store, change: Callable[[pa.Table], pa.Table], column: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        write(store, change(table_of(PROMPT_SCHEMA, 2)), schema=PROMPT_SCHEMA)
    assert refused.value.field == f"column {column}"
    assert store.list("") == []


def test_a_torn_an_altered_and_a_missing_shard_are_named(store: Store) -> None:
    entry = write(store, table_of(PROMPT_SCHEMA, 20))
    data = store.read(entry.path)
    for damaged in (data[:-7], data[:100] + b"X" + data[101:]):
        store.write(entry.path, damaged)
        with pytest.raises(DataCorrupted, match=r"a1/rows-00000-w1\.parquet has"):
            read_shard(store, entry)
    store.delete(entry.path)
    with pytest.raises(DataCorrupted, match=r"a1/rows-00000-w1\.parquet is named by a manifest but missing"):
        read_shard(store, entry)


def test_a_file_that_is_no_shard_is_corrupted(store: Store, add_file: Callable[..., FileEntry]) -> None:
    with pytest.raises(DataCorrupted, match=r"notes\.txt is not a Parquet file"):
        read_shard(store, add_file("notes.txt", b"hello"))


def test_a_group_is_read_as_one_table_in_the_manifests_order(
    store: Store, make_manifest: Callable[..., Manifest]
) -> None:
    table = table_of(SAMPLE_SCHEMA, 10)
    entries = [write(store, table.slice(s, 5), f"a1/rows-{s:05d}-w1.parquet") for s in (5, 0)]
    manifest = make_manifest(files=tuple(reversed(entries)))
    assert read_group(store, manifest, "rows").equals(table)
    with pytest.raises(NotFound):
        read_group(store, manifest, "others")
