"""Dashboards and alerts ask for what somebody tells, and names follow one scheme."""

import re
from pathlib import Path

import pytest

from selfie.monitoring.families import HELP

ROOT = Path(__file__).resolve().parents[3]
SOURCES = [path for folder in ("services/selfie", "operator") for path in (ROOT / folder).rglob("*.py")]
ASKING = [
    *sorted((ROOT / "charts/selfie/dashboards").glob("*.json")),
    ROOT / "charts/selfie/files/alerts.yaml",
]
MADE = re.compile(r'(Counter|GaugeMetricFamily|Gauge|Histogram|Info)\(\s*f?"(selfie_\w+|\{_NAME\}_\w+)"')
SUFFIXES = {
    "Counter": ("_total",),
    "Histogram": ("_bucket", "_sum", "_count"),
    "Gauge": ("",),
    "GaugeMetricFamily": ("",),
    "Info": ("_info",),
}


def told() -> set[str]:
    """Every series of ours by name, as Prometheus knows it."""
    found = set(HELP)
    for path in SOURCES:
        text = path.read_text()
        own = re.search(r'^_NAME = "(\w+)"', text, re.MULTILINE)
        for kind, name in MADE.findall(text):
            whole = name.replace("{_NAME}", own[1] if own else "")
            found |= {whole + suffix for suffix in SUFFIXES[kind]}
    jobs = (ROOT / "services/selfie/training/metrics.py").read_text()
    return found | set(re.findall(r'"(selfie_training_\w+)"', jobs))


@pytest.mark.parametrize("path", ASKING, ids=lambda path: path.name)
def test_what_is_asked_for_is_told(path: Path):
    asked = set(re.findall(r"\bselfie_\w+", path.read_text()))
    assert asked
    assert asked - told() == set()


def test_counters_and_infos_leave_their_ending_to_the_library():
    made = [(kind, name) for path in SOURCES for kind, name in MADE.findall(path.read_text())]
    assert len(made) > 30
    assert not [
        name for kind, name in made if name.endswith(("_total", "_info", "_bucket", "_count", "_sum"))
    ]


def test_what_is_told_of_runs_is_asked_for_somewhere():
    asked = {name for path in ASKING for name in re.findall(r"\bselfie_\w+", path.read_text())}
    unasked = {name for name in HELP if name not in asked}
    # For whoever wants a rule or a panel of their own.
    assert unasked == {
        "selfie_run_active_seconds",
        "selfie_run_completion_timestamp_seconds",
        "selfie_run_deadline_seconds",
        "selfie_run_start_timestamp_seconds",
    }
