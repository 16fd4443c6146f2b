"""The documentation knows all that it is about."""

import re
from pathlib import Path

import pytest

from documented import commands, pages
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


OF_DEVELOPERS = {"CONTRIBUTING.md", "docs/cluster-tests.md", "docs/results.md", "docs/scale.md"}
TRIED = {
    ("README.md", "Try it"): "newcomer/test_laptop",
    ("README.md", "On a cluster"): "newcomer/test_cluster: those of docs/install.md, images apart",
    ("docs/compare.md", "Comparing runs"): "newcomer/test_laptop",
    ("docs/install.md", "On kind"): "newcomer/test_cluster",
    ("docs/install.md", "Who may do what"): "newcomer/test_cluster",
    ("docs/images.md", "Without a registry"): "newcomer/test_cluster",
    ("docs/operating.md", "Upgrade and roll back"): "newcomer/test_cluster",
    ("docs/operating.md", "Uninstall"): "newcomer/test_cluster",
    ("docs/troubleshooting.md", "What a run says of itself, and what to do"): "newcomer/test_cluster",
    ("docs/monitoring.md", "A run on this machine"): "chart/test_prometheus, on a smaller run",
    ("docs/engines.md", "On this machine"): "component/test_local_run_engines, on a stand-in",
}
UNTRIED = {
    ("docs/install.md", "Where artifacts are kept"): "wants a key of a store",
    ("docs/install.md", "On nodes with GPUs"): "wants GPUs; rendered by cluster/test_chart_rendered",
    ("docs/install.md", "A model that wants a token"): "wants a cluster; unit/training/cluster/test_objects",
    ("docs/install.md", "The scorer"): "wants that store; cluster/test_chart_trial installs a scorer",
    ("docs/images.md", "Images"): "wants Docker and a published base",
    ("docs/monitoring.md", "On a cluster"): "wants the Prometheus operator; its kinds are in tests/chart",
    ("docs/monitoring.md", "Traces"): "a part of a command",
}
"""Sections of the users' pages, by where their commands are carried out, or why they are not.

Of docs/scorer.md each block is, by component/scoring/test_page, and of docs/runbooks what
newcomer/test_cluster does not leave out by name.
"""


def test_every_command_that_users_are_told_is_carried_out_or_known_not_to_be():
    own = {page for page in pages() if "runbooks" not in page.parts and page.name != "scorer.md"}
    told = {(entry.page, entry.section) for page in own for entry in commands(page)}
    assert {place for place in told if place[0] not in OF_DEVELOPERS} == TRIED.keys() | UNTRIED.keys()
