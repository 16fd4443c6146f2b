"""Commands of the documents, as a reader types them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Command:
    """One command line; ``page`` is relative to the repository, ``section`` the heading above it."""

    page: str
    section: str
    text: str


def pages() -> list[Path]:
    """Every document that tells people to type something."""
    runbooks = sorted((ROOT / "docs/runbooks").glob("*.md"))
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")), *runbooks]


def commands(page: Path) -> Iterator[Command]:
    """The command lines of indented blocks and of those that are marked as a shell's."""
    section = ""
    tokens = MarkdownIt().parse(page.read_text())
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type == "heading_open" and following is not None:
            section = following.content
        if token.type == "code_block" or (token.type == "fence" and token.info == "sh"):
            for line in _whole_lines(token.content):
                yield Command(str(page.relative_to(ROOT)), section, line)


def of_section(page: str, section: str) -> list[str]:
    """The command lines below one heading; an error if there are none."""
    found = [command.text for command in commands(ROOT / page) if command.section == section]
    assert found, f"{page} has no commands below {section!r}"
    return found


def _whole_lines(block: str) -> Iterator[str]:
    for line in block.replace("\\\n", " ").splitlines():
        text = re.sub(r"\s+#\s.*$", "", re.sub(r"\s+", " ", line)).strip()
        if text:
            yield text
