"""Figures of the fault cases: one JSON file, from which `tools/reliability.py` makes a table."""

import fcntl
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = "SELFIE_RELIABILITY"
"""Variable with the file that figures are added to; without it they are only printed."""


def report(case: str, **figures: Any) -> None:
    """Keeps what a case has shown, in place of what it showed before."""
    entry = {"measured": datetime.now(UTC).strftime("%Y-%m-%d"), **figures}
    print(f"case {case}: {json.dumps(entry)}")
    place = os.environ.get(RESULTS)
    if not place:
        return
    path = Path(place)
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        known = json.loads(file.read() or "{}")
        known[case] = entry
        file.truncate(0)
        file.write(json.dumps(known, indent=1, sort_keys=True) + "\n")
