"""Makes the table of docs/reliability.md from bench/reliability.json: ``python tools/reliability.py``.

The tests of `make test-faults` add their figures to the JSON; nothing in the table is written by hand.
"""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pages import put, with_table

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench/reliability.json"
PAGE = ROOT / "docs/reliability.md"
NAME = "tools/reliability.py"
_APART = {"fault", "measured"}


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """One row for each case, in the order of their numbers."""
    rows = ["| case | fault | figures | measured |", "|---|---|---|---|"]
    for case in sorted(results, key=_order):
        found = results[case]
        figures = "; ".join(
            f"{name.replace('_', ' ')} {_told(value)}" for name, value in found.items() if name not in _APART
        )
        rows.append(f"| {case} | {found['fault']} | {figures} | {found['measured']} |")
    return "\n".join(rows)


def _order(case: str) -> tuple[int, str]:
    found = re.match(r"\d+", case)
    return (int(found[0]) if found else 0, case)


def _told(value: Any) -> str:
    if isinstance(value, Mapping):
        return "(" + ", ".join(f"{name}: {_told(entry)}" for name, entry in value.items()) + ")"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return str(value)


def main() -> int:
    """Writes the page; with ``--check`` only says whether it is up to date."""
    return put(PAGE, with_table(PAGE.read_text(), NAME, table(json.loads(RESULTS.read_text()))))


if __name__ == "__main__":
    sys.exit(main())
