"""The documentation knows all that it is about."""

import re
from pathlib import Path

import pytest

from selfie.runs import reasons

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
REASONS = sorted(value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str))


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_of_a_condition_has_its_remedy(reason: str):
    assert f"`{reason}`" in (DOCS / "troubleshooting.md").read_text()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(DOCS)))
def test_links_to_other_pages_lead_somewhere(page: Path):
    linked = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    assert not [target for target in linked if not (page.parent / target).exists()]
