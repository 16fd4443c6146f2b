"""Reads YAML so that what is accepted here means the same to a cluster, and knows each value's line.

PyYAML alone takes ``5e-7`` for text, ``1:30`` for 90, ``2026-01-01`` for a date and the last of
two equal keys for both: `kubectl apply` would refuse such a file, or understand it otherwise.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from selfie.runs.node_checks import RefersToItselfError, size_written_out, wrong_nodes
from selfie.runs.violations import InvalidRun, Violation

MAX_CHARACTERS = 1_000_000
"""More than a cluster could store; also the most nodes that a file may have with its aliases written out."""

MAX_DEPTH = 50
"""A run is seven levels deep."""

WRITE_A_RUN = "write a SelfieRun, beginning with apiVersion: selfie.dev/v1alpha1"

_INT, _FLOAT, _TIMESTAMP = (f"tag:yaml.org,2002:{name}" for name in ("int", "float", "timestamp"))
_INT_PATTERN = re.compile(r"^[-+]?(0|[1-9][0-9]*)$")
_FLOAT_PATTERN = re.compile(
    r"^([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"
)
_RESOLVERS = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in {_INT, _FLOAT, _TIMESTAMP}]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _first in "-+.0123456789":
    _RESOLVERS[_first] = [*_RESOLVERS.get(_first, []), (_INT, _INT_PATTERN), (_FLOAT, _FLOAT_PATTERN)]


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = _RESOLVERS
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.depth == MAX_DEPTH:
            line = self.peek_event().start_mark.line + 1  # type: ignore[no-untyped-call]
            raise _refused(f"is nested too deeply, beyond {MAX_DEPTH} levels", "give one SelfieRun", line)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Dumper(yaml.SafeDumper):
    yaml_implicit_resolvers = _RESOLVERS

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the base class calls it by position
        return True


@dataclass(frozen=True)
class Document:
    """One YAML document: its data, and its nodes for looking up where a value stands."""

    data: Any
    root: yaml.Node

    def find(self, path: Sequence[str | int]) -> tuple[yaml.Node, yaml.Mark]:
        """The node of a value, or the nearest above it that exists, and where it begins."""
        node, mark = self.root, self.root.start_mark
        for part in path:
            below = _child(node, part)
            if below is None:
                break
            key, node = below
            mark = key.start_mark
        return node, mark


def read_document(text: str) -> Document:
    """The only document of the text; raises InvalidRun if it is none, or one of several.

    Keys that stand twice, and what else no file may have, are told at once; what breaks the YAML
    itself comes alone, because nothing after it can be read.
    """
    if len(text) > MAX_CHARACTERS:
        raise _refused(f"is longer than {MAX_CHARACTERS} characters", "give one SelfieRun")
    try:
        return _read(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        problem, remedy = _in_words(error.problem or "it cannot be read")
        raise _refused(f"is not YAML: {problem}", remedy, line) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _refused(
            f"is not YAML: it holds the character U+{ord(text[error.position]):04X}", "take it out", line
        ) from error
    except (ValueError, OverflowError) as error:
        raise _refused(f"is not YAML: {error}", "mend the file") from error


def write_document(data: object) -> str:
    """YAML that `read_document` and a cluster read back as the same data."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def _read(text: str) -> Document:
    loader = _Loader(text)
    try:
        root = _only_document(loader)
        _refuse_wrong_nodes(root)
        return Document(loader.construct_document(root), root)
    finally:
        loader.dispose()


def _only_document(loader: _Loader) -> yaml.Node:
    documents: list[yaml.Node] = []
    while loader.check_node():
        root = loader.get_node()
        if root is not None and root.tag != "tag:yaml.org,2002:null":
            documents.append(root)
    if not documents:
        raise _refused("is empty", WRITE_A_RUN)
    if len(documents) > 1:
        line = documents[1].start_mark.line + 1
        raise _refused(f"holds {len(documents)} documents", "give each SelfieRun its own file", line)
    return documents[0]


def _refuse_wrong_nodes(root: yaml.Node) -> None:
    try:
        size = size_written_out(root)
    except RefersToItselfError as error:
        line = error.mark.line + 1
        raise _refused("refers to itself", "write out what the alias stands for", line) from error
    if size > MAX_CHARACTERS:
        remedy = "write out what the aliases stand for, or take them out"
        raise _refused(f"has {size} entries with its aliases written out", remedy)
    if violations := wrong_nodes(root, _tag_of):
        raise InvalidRun(violations)


def _tag_of(text: str) -> str:
    """The tag of a plain scalar that is given none."""
    patterns = _RESOLVERS.get(text[:1], [])
    return next((tag for tag, pattern in patterns if pattern.match(text)), "tag:yaml.org,2002:str")


def _in_words(problem: str) -> tuple[str, str]:
    if "'\\t'" in problem:
        return "a tab cannot stand here", "indent with blanks"
    if problem == "second occurrence":
        return "an anchor of this name is there already", "give each anchor a name of its own"
    return problem, "mend this line"


def _child(node: yaml.Node, part: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        return next(((key, value) for key, value in node.value if key.value == str(part)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part], node.value[part]
    return None


def _refused(problem: str, remedy: str, line: int | None = None) -> InvalidRun:
    return InvalidRun([Violation("the file", problem, remedy, line)])
