"""Writes `docs/dataset.md` from the schemas, so that the page can't say anything else.

Run as ``python -m selfie.artifacts.dataset_docs > docs/dataset.md``.
"""

import sys
from collections.abc import Iterable

import pyarrow as pa

from selfie.artifacts import rows

_HEAD = """\
# The data sets of a run

<!-- Made by `python -m selfie.artifacts.dataset_docs > docs/dataset.md`; change the schemas instead. -->

Each step of a run publishes a `manifest.json`, which names its files by group, path and SHA-256.
Data sets are Parquet files (zstd); `pandas.read_parquet` reads them, and the text below is also in
each column's metadata under `doc`.

```python
import json, pandas

run = "/path/of/the/run"
files = json.load(open(f"{run}/rounds/01/filter/manifest.json"))["files"]
shards = [f"{run}/{file['path']}" for file in files if file["path"].endswith(".parquet")]
pairs = pandas.concat(pandas.read_parquet(shard) for shard in shards)
```

Log-probabilities are natural logarithms (nats), summed over the response's tokens at temperature 1.
Digests are SHA-256 as lower-case hexadecimal.
"""

_SECTIONS = (
    ("Prompts", "Made by `prepare`.", rows.PROMPT_COLUMNS),
    (
        "Preferences",
        "Pairs that people labelled, made by `prepare`: every column of a prompt, and",
        rows.PREFERENCE_COLUMNS,
    ),
    ("Samples", "Made by `generate`: every column of a prompt, and", rows.SAMPLE_COLUMNS),
    ("Scored samples", "Made by `score`: every column of a sample, and", rows.SCORED_COLUMNS),
    ("Ratings", "Made by `evaluator` and `evaluate-ratings`: of each sample,", rows.RATING_COLUMNS),
    ("Pairs", "Made by `score`: every column of a prompt, and", rows.JUDGEMENT_COLUMNS),
    (
        "Filtered pairs",
        "Made by `filter`: every column of a pair, whose last six are null until then, namely",
        rows.FILTER_COLUMNS,
    ),
)


def dataset_docs() -> str:
    """The page as Markdown, with one table for each data set."""
    sections = (f"## {title}\n{text}\n\n{_table(columns)}" for title, text, columns in _SECTIONS)
    return "\n".join([_HEAD, *sections])


def _table(columns: Iterable[pa.Field]) -> str:
    lines = ["| column | type | meaning |", "|---|---|---|"]
    for column in columns:
        null = " or null" if column.nullable else ""
        meaning = column.metadata[b"doc"].decode().replace("|", "\\|")
        lines.append(f"| `{column.name}` | {_type(column.type)}{null} | {meaning} |")
    return "\n".join(lines) + "\n"


def _type(kind: pa.DataType) -> str:
    """The type in a reader's words: `list<struct<role: string, content: string>>`."""
    if pa.types.is_list(kind):
        return f"list<{_type(kind.value_type)}>"
    return str(kind).replace("double", "float64")


if __name__ == "__main__":
    sys.stdout.write(dataset_docs())
