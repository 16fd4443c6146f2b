"""Rows laid end to end, each prompt once: what is computed together, and where everything lies.

The responses to one prompt differ only after it, so a causal model sees the same prompt before each
of them. Free of torch, so that what goes where can be read and tested by itself.
"""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeAlias

from selfie.scoring.rows import Row

Ids: TypeAlias = tuple[int, ...]
"""Token ids of a prompt, which it is known by."""


@dataclass(frozen=True)
class Group:
    """One prompt and the responses after it, as places in the packed sequence.

    A response's last token is left out: nothing is predicted from it. A prompt that is kept from before
    is not there either: its place is empty.
    """

    prompt: slice
    responses: tuple[slice, ...]


@dataclass(frozen=True)
class Packed:
    """A sequence [tokens] of whole groups.

    ``positions`` count from the start of each row. ``wanted`` are the places whose states are asked for;
    ``scored`` are indices into them that predict the response tokens of the rows, row by row in the order
    of the rows. Those from ``len(wanted)`` on stand for the ends of the prompts that are ``kept``.
    ``prompts`` tells of each of the others where it lies, and the index of its end among the wanted.
    """

    ids: tuple[int, ...]
    positions: tuple[int, ...]
    groups: tuple[Group, ...]
    wanted: tuple[int, ...]
    scored: tuple[int, ...]
    kept: tuple[Ids, ...]
    prompts: Mapping[Ids, tuple[slice, int]]


def pack(rows: Sequence[Row], *, kept: Container[Ids] = frozenset()) -> Packed:
    """The rows in one sequence, without the prompts that are ``kept``; no row may be there twice."""
    packing = _Packing(kept)
    scored: dict[int, list[int]] = {}
    for indices in _by_prompt(rows):
        scored.update(zip(indices, packing.add([rows[index] for index in indices]), strict=True))
    return packing.finished(chain.from_iterable(scored[index] for index in range(len(rows))))


def packed_batches(rows: Sequence[Row], token_budget: int) -> list[list[int]]:
    """Indices of the rows in batches of at most so many packed tokens; a longer row runs alone.

    Responses to one prompt stay together as far as the budget allows.
    """
    batches: list[list[int]] = []
    room = 0
    for piece, tokens in _pieces(rows, token_budget):
        if not batches or tokens > room:
            batches.append([])
            room = token_budget
        batches[-1] += piece
        room -= tokens
    return batches


class _Packing:
    """A packed sequence while it grows.

    The end of the kept prompt i is called ``-1 - i`` until all is there.
    """

    def __init__(self, kept: Container[Ids]) -> None:
        self._known = kept
        self._ids: list[int] = []
        self._positions: list[int] = []
        self._groups: list[Group] = []
        self._wanted: list[int] = []
        self._kept: list[Ids] = []
        self._prompts: dict[Ids, tuple[slice, int]] = {}

    def add(self, rows: Sequence[Row]) -> Iterator[list[int]]:
        """Takes in the rows of one prompt; returns the wanted places that predict each one's response."""
        prompt_ids = rows[0].prompt_ids
        prompt, end = self._prompt(prompt_ids)
        spans = [self._span(row.response_ids[:-1], first=len(prompt_ids)) for row in rows]
        self._groups.append(Group(prompt, tuple(spans)))
        places = [[end, *self._want(span)] for span in spans]
        return iter(places)

    def finished(self, scored: Iterable[int]) -> Packed:
        """All of it, with the places that predict the responses."""
        count = len(self._wanted)
        return Packed(
            tuple(self._ids),
            tuple(self._positions),
            tuple(self._groups),
            tuple(self._wanted),
            tuple(place if place >= 0 else count - 1 - place for place in scored),
            tuple(self._kept),
            self._prompts,
        )

    def _prompt(self, ids: Ids) -> tuple[slice, int]:
        if ids in self._known:
            self._kept.append(ids)
            return slice(len(self._ids), len(self._ids)), -len(self._kept)
        prompt = self._span(ids, first=0)
        (end,) = self._want(slice(prompt.stop - 1, prompt.stop))
        self._prompts[ids] = prompt, end
        return prompt, end

    def _want(self, span: slice) -> range:
        first = len(self._wanted)
        self._wanted += range(span.start, span.stop)
        return range(first, len(self._wanted))

    def _span(self, ids: Sequence[int], *, first: int) -> slice:
        start = len(self._ids)
        self._ids += ids
        self._positions += range(first, first + len(ids))
        return slice(start, len(self._ids))


def _pieces(rows: Sequence[Row], token_budget: int) -> Iterator[tuple[list[int], int]]:
    """The rows of each prompt, cut where they exceed the budget, with the tokens that they take."""
    for indices in _by_prompt(rows):
        prompt = len(rows[indices[0]].prompt_ids)
        piece: list[int] = []
        tokens = prompt
        for index in indices:
            added = len(rows[index].response_ids) - 1
            if piece and tokens + added > token_budget:
                yield piece, tokens
                piece, tokens = [], prompt
            piece.append(index)
            tokens += added
        yield piece, tokens


def _by_prompt(rows: Sequence[Row]) -> list[list[int]]:
    found: dict[tuple[int, ...], list[int]] = {}
    for index, row in enumerate(rows):
        found.setdefault(row.prompt_ids, []).append(index)
    return list(found.values())
