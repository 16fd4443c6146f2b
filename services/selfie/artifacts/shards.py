"""Data sets in the store: Parquet files of rows by a documented schema.

A shard's bytes depend on its rows alone, not on how the table was put together, so that two
attempts that find the same rows write the same file.
"""

import re
from collections.abc import Container, Iterable

import pyarrow as pa
import pyarrow.parquet as pq
import structlog

from selfie.artifacts.digests import digest_bytes
from selfie.artifacts.manifests import FileEntry, Manifest, check_digest
from selfie.artifacts.retirements import missing_file
from selfie.artifacts.store import Store
from selfie.errors import DataCorrupted, InvalidInput, NotFound

log = structlog.get_logger()

# Written down, not left to the library's defaults: they decide a shard's bytes.
_PARQUET = {
    "compression": "zstd",
    "compression_level": 3,
    "version": "2.6",
    "data_page_version": "1.0",
    "row_group_size": 65_536,
    "use_dictionary": True,
    "write_statistics": True,
}


def write_shard(
    store: Store, path: str, table: pa.Table, *, schema: pa.Schema, group: str, name: str
) -> FileEntry:
    """Writes the table's rows as one Parquet file, in place of one that may be there.

    Columns are put in the schema's order and types; a nullable one that is absent becomes null.
    Raises `InvalidInput`, which names the column, for one that is unknown, absent, null or does
    not fit its type.
    """
    sink = pa.BufferOutputStream()
    pq.write_table(conform(table, schema), sink, **_PARQUET)
    data = sink.getvalue().to_pybytes()
    store.write(path, data)
    digest = digest_bytes(data)
    return FileEntry(
        group=group, name=name, path=path, sha256=digest.sha256, bytes=digest.bytes, rows=table.num_rows
    )


def finish_shard(
    store: Store, path: str, table: pa.Table, *, schema: pa.Schema, group: str, name: str
) -> FileEntry:
    """Writes a shard as `write_shard` does; only when its side-car is there too does it count as finished."""
    entry = write_shard(store, path, table, schema=schema, group=group, name=name)
    store.write(f"{path}.json", entry.model_dump_json(by_alias=True).encode())
    return entry


def finished_shards(
    store: Store, attempt_path: str, group: str, *, without: Container[int] = ()
) -> dict[int, FileEntry]:
    """Shards of the group that the attempt has written so far, by index, published or not.

    ``without``: indices that are not looked at again. One that is no longer as it was written is left
    out, to be made again.
    """
    pattern = re.compile(rf"/{re.escape(group)}-(\d{{5}})-[^/]*\.parquet\.json$")
    found: dict[int, FileEntry] = {}
    for path in store.list(attempt_path):
        if (match := pattern.search(path)) is None or int(match[1]) in without:
            continue
        entry = FileEntry.model_validate_json(store.read(path))
        if int(match[1]) not in found and is_whole(store, entry):
            found[int(match[1])] = entry
    return found


def is_whole(store: Store, entry: FileEntry) -> bool:
    """Whether the file is as its entry says; if not, the log says what is wrong with it."""
    try:
        check_digest(store, entry, store.digest(entry.path))
    except (DataCorrupted, NotFound) as error:
        log.warning("a finished shard is made again", path=entry.path, error=str(error))
        return False
    return True


def read_shard(store: Store, entry: FileEntry) -> pa.Table:
    """The rows of a shard: `DataCorrupted`, which names it, if it is missing, torn or altered."""
    try:
        data = store.read(entry.path)
    except NotFound as error:
        raise missing_file(store, entry) from error
    check_digest(store, entry, digest_bytes(data))
    try:
        return pq.read_table(pa.BufferReader(data))
    except pa.ArrowException as error:
        raise DataCorrupted(f"{store.uri}/{entry.path} is not a Parquet file: {error}") from error


def read_group(store: Store, manifest: Manifest, group: str) -> pa.Table:
    """The rows of all shards of a group, in the manifest's order; `NotFound` if it has none."""
    return pa.concat_tables([read_shard(store, entry) for entry in manifest.group(group)])


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table by the schema, in one piece; see `write_shard` for what is refused."""
    _refuse_unknown(table.column_names, schema)
    columns = [_column(table, field) for field in schema]
    # Where a table's pieces end would show in the pages of the file.
    return pa.Table.from_arrays(columns, schema=schema).combine_chunks()


def _refuse_unknown(names: Iterable[str], schema: pa.Schema) -> None:
    names = list(names)
    for name in names:
        if schema.get_field_index(name) < 0:
            raise InvalidInput(f"column {name}", "is not in the schema", f"use {', '.join(schema.names)}")
        if names.count(name) > 1:
            raise InvalidInput(f"column {name}", "is there more than once", "keep one of them")


def _column(table: pa.Table, field: pa.Field) -> pa.ChunkedArray:
    if field.name not in table.column_names:
        if not field.nullable:
            raise InvalidInput(f"column {field.name}", "is absent", f"give it as {field.type}")
        return pa.chunked_array([pa.nulls(table.num_rows, field.type)])
    column = table.column(field.name)
    if column.null_count and not field.nullable:
        raise InvalidInput(f"column {field.name}", f"is null in {column.null_count} rows", "fill them")
    try:
        return column.cast(field.type)
    except pa.ArrowException as error:
        raise InvalidInput(
            f"column {field.name}", f"is {column.type}: {error}", f"give it as {field.type}"
        ) from error
