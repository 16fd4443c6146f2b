"""Pages that people write, and in them tables that a tool writes, between two marks."""

import sys
from pathlib import Path

END = "<!-- end of table -->"


def with_table(page: str, name: str, table: str) -> str:
    """The page with this table in place of that which was there under the same name.

    `ValueError` if the page has no place of that name.
    """
    begin = f"<!-- table: {name} -->"
    before, found, rest = page.partition(f"{begin}\n")
    _, end, after = rest.partition(END)
    if not (found and end):
        raise ValueError(f"the page has no {begin} with {END} after it")
    return f"{before}{begin}\n{table}\n{END}{after}"


def put(page: Path, wanted: str) -> int:
    """Writes the page; with ``--check`` only says whether it is up to date: an exit status."""
    if "--check" in sys.argv:
        return int(page.read_text() != wanted)
    page.write_text(wanted)
    return 0
