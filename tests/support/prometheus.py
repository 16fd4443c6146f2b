"""Prometheus' own tools on the chart's files; they are Debian's package `prometheus`."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

CHART = Path(__file__).parents[2] / "charts/selfie"
ALERTS = CHART / "files/alerts.yaml"


def tool(name: str) -> str:
    """Path of `promtool` or `prometheus`; without it the test is skipped."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"there is no {name}; install Debian's package prometheus")
    return found


def promtool(*arguments: str) -> str:
    """What it says; an assertion with its complaint if it finds something wrong."""
    done = subprocess.run(
        [tool("promtool"), *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def alerts() -> dict[str, dict[str, Any]]:
    """Alerts of the chart by name; of two with one name, the first."""
    rules = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    return {rule["alert"]: rule for rule in reversed(rules) if "alert" in rule}
