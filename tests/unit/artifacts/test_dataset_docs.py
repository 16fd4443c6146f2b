"""The documentation of the data sets is what the schemas say."""

from pathlib import Path

import pyarrow as pa
import pytest

from selfie.artifacts.dataset_docs import dataset_docs
from selfie.artifacts.rows import (
    PAIR_SCHEMA,
    PREFERENCE_SCHEMA,
    PROMPT_SCHEMA,
    SAMPLE_SCHEMA,
    SCORED_SCHEMA,
)

PAGE = Path(__file__).parents[3] / "docs" / "dataset.md"


def test_the_committed_page_is_the_one_that_the_schemas_make() -> None:
    assert PAGE.read_text() == dataset_docs(), (
        "run: python -m selfie.artifacts.dataset_docs > docs/dataset.md"
    )


@pytest.mark.parametrize(
    "schema", [PROMPT_SCHEMA, PREFERENCE_SCHEMA, SAMPLE_SCHEMA, SCORED_SCHEMA, PAIR_SCHEMA]
)
def test_every_column_has_one_name_and_is_on_the_page(schema: pa.Schema) -> None:
    assert len(set(schema.names)) == len(schema.names)
    for field in schema:
        assert f"| `{field.name}` |" in dataset_docs()
        assert field.metadata[b"doc"].decode().endswith(".")
