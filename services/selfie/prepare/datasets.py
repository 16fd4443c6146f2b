"""Data sets from wherever they are: bytes with a digest, then rows with a place in the file.

A row knows its line, so that whoever has to mend a data set is told where.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from selfie.artifacts.digests import digest_bytes
from selfie.artifacts.store import open_store
from selfie.errors import InvalidInput
from selfie.models.hub import FileDownload, check_repository, dataset_file

_HUB = "hf://datasets/"
_REMEDY = "use a path, file:///…, s3://…, gs://… or hf://datasets/organisation/name@revision/file.jsonl"


@dataclass(frozen=True)
class Row:
    """One row as it stands in the file; ``place`` is ``<uri>:<line>``, lines from 1."""

    place: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Dataset:
    """All rows of a file, and the SHA-256 of its bytes; ``stem`` is its name without ending."""

    uri: str
    sha256: str
    rows: tuple[Row, ...]

    @property
    def stem(self) -> str:
        return Path(self.uri).name.partition(".")[0]


def read_dataset(uri: str, *, cache_root: Path, field: str, download: FileDownload = dataset_file) -> Dataset:
    """Fetches and parses a file of JSON Lines, or of Parquet if it is named so.

    Raises `InvalidInput` at ``field`` for a place that is none, and at the place of the first line
    that is not a JSON object.
    """
    data = _fetch(uri, cache_root, field, download)
    rows = _parquet_rows(uri, data) if uri.endswith(".parquet") else _json_rows(uri, data)
    if not rows:
        raise InvalidInput(field, f"{uri} has no rows", "give a file with one JSON object a line")
    return Dataset(uri, digest_bytes(data).sha256, rows)


def _fetch(uri: str, cache_root: Path, field: str, download: FileDownload) -> bytes:
    scheme, separator, rest = uri.partition("://")
    if uri.startswith(_HUB):
        return _fetch_from_hub(uri, cache_root, field, download).read_bytes()
    if scheme in ("s3", "gs"):
        parent, _, name = uri.rpartition("/")
        return open_store(parent).read(name)
    if separator and scheme != "file":
        raise InvalidInput(field, f"{uri!r} is not the place of a data set", _REMEDY)
    path = Path(unquote(rest)) if separator else Path(uri)
    if not path.is_file():
        raise InvalidInput(field, f"{path} is not a file", _REMEDY)
    return path.read_bytes()


def _fetch_from_hub(uri: str, cache_root: Path, field: str, download: FileDownload) -> Path:
    parts = uri.removeprefix(_HUB).split("/", 2)
    if len(parts) != 3 or not all(parts):
        raise InvalidInput(field, f"{uri!r} does not name a file of a data set", _REMEDY)
    name, _, revision = parts[1].partition("@")
    repository = check_repository(f"{parts[0]}/{name}", field=field, remedy=_REMEDY)
    return download(repository, parts[2], revision or None, cache_root)


def _json_rows(uri: str, data: bytes) -> tuple[Row, ...]:
    rows = []
    for number, line in enumerate(data.splitlines(), start=1):
        if line.strip():
            place = f"{uri}:{number}"
            rows.append(Row(place, _json_object(place, line)))
    return tuple(rows)


def _json_object(place: str, line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise InvalidInput(
            place, f"is not JSON: {error}", "write one JSON object a line, in UTF-8"
        ) from error
    if not isinstance(value, dict):
        raise InvalidInput(place, f"is a {type(value).__name__}", "write one JSON object a line")
    return value


def _parquet_rows(uri: str, data: bytes) -> tuple[Row, ...]:
    try:
        table = pq.read_table(pa.BufferReader(data))
    except pa.ArrowException as error:
        raise InvalidInput(uri, f"is not a Parquet file: {error}", "give Parquet, or JSON Lines") from error
    return tuple(Row(f"{uri}:{number}", values) for number, values in enumerate(table.to_pylist(), start=1))
