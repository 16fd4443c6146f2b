"""Rows laid end to end, each prompt once: what is computed together, and where everything lies.

The responses to one prompt differ only after it, so a causal model sees the same prompt before each
of them. Free of torch, so that what goes where can be read and tested by itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from selfie.scoring.rows import Row


@dataclass(frozen=True)
class Group:
    """One prompt and the responses after it, as places in the packed sequence.

    A response's last token is left out: nothing is predicted from it.
    """

    prompt: slice
    responses: tuple[slice, ...]


@dataclass(frozen=True)
class Packed:
    """A sequence [tokens] of whole groups.

    ``positions`` count from the start of each row, ``scored`` are the places that predict the
    response tokens of the rows, row by row in the order of the rows.
    """

    ids: tuple[int, ...]
    positions: tuple[int, ...]
    groups: tuple[Group, ...]
    scored: tuple[int, ...]


def pack(rows: Sequence[Row]) -> Packed:
    """The rows in one sequence; no row may be there twice."""
    packing = _Packing()
    places: dict[int, list[int]] = {}
    for indices in _by_prompt(rows):
        places.update(zip(indices, packing.add([rows[index] for index in indices]), strict=True))
    scored = chain.from_iterable(places[index] for index in range(len(rows)))
    return Packed(tuple(packing.ids), tuple(packing.positions), tuple(packing.groups), tuple(scored))


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
    """A packed sequence while it grows."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.positions: list[int] = []
        self.groups: list[Group] = []

    def add(self, rows: Sequence[Row]) -> Iterator[list[int]]:
        """Takes in the rows of one prompt; returns the places that predict each one's response."""
        prompt = self._span(rows[0].prompt_ids, first=0)
        spans = [self._span(row.response_ids[:-1], first=len(row.prompt_ids)) for row in rows]
        self.groups.append(Group(prompt, tuple(spans)))
        return ([prompt.stop - 1, *range(span.start, span.stop)] for span in spans)

    def _span(self, ids: Sequence[int], *, first: int) -> slice:
        start = len(self.ids)
        self.ids += ids
        self.positions += range(first, first + len(ids))
        return slice(start, len(self.ids))


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
