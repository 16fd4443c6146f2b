"""What no SelfieRun may have in its YAML, whatever its fields: looked for before anything is made of it.

PyYAML would take the last of two equal keys, turn the key ``yes`` into a truth value, follow a
file's own references until memory ends, and raise errors that are not its own for a ``!!bool maybe``.
"""

from collections.abc import Callable, Iterator
from typing import TypeAlias

import yaml

from selfie.runs.locations import Location, path_of
from selfie.runs.violations import MOST_TOLD, Violation, and_more

TAG = "tag:yaml.org,2002:"
Resolve: TypeAlias = Callable[[str], str]
"""The tag of an untagged plain scalar."""

_PLAIN_TAGS = frozenset({f"{TAG}{name}" for name in ("int", "float", "bool", "null")})
_KEY_TAGS = frozenset({f"{TAG}str", f"{TAG}merge"})
_OWN_TAGS = {
    yaml.ScalarNode: _PLAIN_TAGS | {f"{TAG}str"},
    yaml.SequenceNode: frozenset({f"{TAG}seq"}),
    yaml.MappingNode: frozenset({f"{TAG}map"}),
}
_MOST_DIGITS = 40
_LONGEST_KEY = 320
"""A label's key has at most 317 characters, and no other key comes near."""


class RefersToItselfError(Exception):
    """An alias stands within what it is an alias of; ``mark`` is where that begins."""

    def __init__(self, mark: yaml.Mark) -> None:
        super().__init__()
        self.mark = mark


def size_written_out(root: yaml.Node) -> int:
    """Number of nodes if every alias stood for a copy; `RefersToItselfError` where that has no end."""
    return _size(root, {})


def wrong_nodes(root: yaml.Node, resolve: Resolve) -> list[Violation]:
    """Keys that stand twice or are no text, and values whose tag is not their own, by line."""
    found = sorted(_wrong(root, (), resolve, set()), key=lambda violation: violation.line or 0)
    return [*found[:MOST_TOLD], *and_more(len(found))]


def _size(node: yaml.Node, known: dict[int, int | None]) -> int:
    if id(node) in known:
        size = known[id(node)]
        if size is None:
            raise RefersToItselfError(node.start_mark)
        return size
    known[id(node)] = None
    size = 1 + sum(_size(child, known) for child in _children(node))
    known[id(node)] = size
    return size


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from (key, value)
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _wrong(node: yaml.Node, place: Location, resolve: Resolve, seen: set[int]) -> Iterator[Violation]:
    if id(node) in seen:
        return
    seen.add(id(node))
    yield from _wrong_tag(node, place, resolve)
    if isinstance(node, yaml.MappingNode):
        yield from _wrong_keys(node, place)
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                yield from _wrong(value, (*place, key.value), resolve, seen)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from _wrong(value, (*place, index), resolve, seen)


def _wrong_keys(node: yaml.MappingNode, place: Location) -> Iterator[Violation]:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            remedy = "write a name in its place; what a template shall fill in goes in quotes"
            yield Violation(path_of(place), "has a list or a mapping for a key", remedy, line)
        elif len(key.value) > _LONGEST_KEY:
            yield Violation(path_of(place), f"has a key of {len(key.value)} characters", "shorten it", line)
        elif key.tag not in _KEY_TAGS:
            path = path_of((*place, key.value))
            yield Violation(path, "has a key that is no text", f'write it in quotes: "{key.value}"', line)
        elif key.value in lines:
            path, first = path_of((*place, key.value)), lines[key.value]
            yield Violation(path, f"stands twice, first on line {first}", "keep one of the two", line)
        else:
            lines[key.value] = line


def _wrong_tag(node: yaml.Node, place: Location, resolve: Resolve) -> Iterator[Violation]:
    line, value = node.start_mark.line + 1, node.value
    foreign = node.tag not in _OWN_TAGS[type(node)]
    if foreign or (node.tag in _PLAIN_TAGS and resolve(value) != node.tag):
        shown = node.tag.replace(TAG, "!!")
        yield Violation(path_of(place), f"has the tag {shown}", "take the tag out", line)
    elif node.tag == f"{TAG}int" and len(value) > _MOST_DIGITS:
        yield Violation(path_of(place), f"is a number of {len(value)} digits", "write a smaller one", line)
