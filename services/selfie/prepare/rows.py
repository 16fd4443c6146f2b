"""Rows of data sets, checked: prompts, and pairs of responses that a person has compared.

Whatever is wrong with a row is said here, with file, line, field and remedy, before anything is
tokenised or trained.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from selfie.errors import InvalidInput
from selfie.prepare.datasets import Dataset, Row
from selfie.runs.evaluation_fields import LEAST_EVALUATOR_PAIRS

ROLES = ("system", "user", "assistant")
_MESSAGE = '{"role": "user", "content": "…"}'

Messages = tuple[dict[str, str], ...]


@dataclass(frozen=True)
class PromptRow:
    """A prompt: a chat that ends with the user's turn; ``place`` is where it stands."""

    place: str
    prompt_id: str
    messages: Messages
    source: str | None


@dataclass(frozen=True)
class PairRow(PromptRow):
    """A prompt with the response that a person chose and the one that was not."""

    chosen: str
    rejected: str


_R = TypeVar("_R", bound=PromptRow)


def pair_rows(dataset: Dataset, *, size: int, field: str) -> tuple[PairRow, ...]:
    """The first ``size`` pairs, all for 0; `InvalidInput` for a wrong row or if there are fewer."""
    rows = _take(dataset, start=0, count=size, field=field)
    return _unique(tuple(_pair(row, dataset.stem) for row in rows))


def prompt_rows(dataset: Dataset, *, start: int, count: int, field: str) -> tuple[PromptRow, ...]:
    """``count`` prompts after the first ``start``, all for 0; `InvalidInput` as `pair_rows` has it."""
    rows = _take(dataset, start=start, count=count, field=field)
    return _unique(tuple(PromptRow(**_prompt(row, dataset.stem)) for row in rows))


def unused_pairs(
    dataset: Dataset, *, after: int, most: int, besides: Iterable[PairRow]
) -> tuple[PairRow, ...]:
    """Pairs after the first ``after`` whose prompt none ``besides`` them has, at most so many.

    `InvalidInput` for a wrong row, and for fewer than an evaluator can be fitted on.
    """
    taken = {_chat(pair) for pair in besides}
    rest = (_pair(row, dataset.stem) for row in dataset.rows[after:])
    found = _unique(tuple(islice((pair for pair in rest if _chat(pair) not in taken), most)))
    if len(found) < LEAST_EVALUATOR_PAIRS:
        problem = (
            f"leaves {len(found)} of the {len(dataset.rows)} pairs of {dataset.uri} to the evaluator, which "
            f"needs at least {LEAST_EVALUATOR_PAIRS} whose prompts are neither trained on nor held out"
        )
        raise InvalidInput("seed.size", problem, "choose a smaller one, or add labelled pairs")
    return found


def refuse_leaked(seed: Sequence[PairRow], heldout: Sequence[PairRow]) -> None:
    """`InvalidInput` for a held-out pair that is also trained on: same prompt, same chosen response."""
    trained = {_key(pair): pair.place for pair in seed}
    for pair in heldout:
        if _key(pair) in trained:
            problem = f"is the same pair as {trained[_key(pair)]} of the seed"
            raise InvalidInput(
                pair.place, problem, "remove it from one of them: accuracy would be measured on it"
            )


def _key(pair: PairRow) -> tuple[Any, ...]:
    return (*_chat(pair), pair.chosen)


def _chat(pair: PairRow) -> tuple[tuple[str, str], ...]:
    return tuple((message["role"], message["content"]) for message in pair.messages)


def _take(dataset: Dataset, *, start: int, count: int, field: str) -> tuple[Row, ...]:
    there = len(dataset.rows)
    taken = dataset.rows[start : start + count if count else None]
    if len(taken) < max(count, 1):
        asked = f"{count or 'rows'} after the first {start}" if start else str(count)
        raise InvalidInput(field, f"asks for {asked}, and {dataset.uri} has {there} rows", "ask for fewer")
    return taken


def _unique(rows: tuple[_R, ...]) -> tuple[_R, ...]:
    seen: dict[str, str] = {}
    for row in rows:
        if row.prompt_id in seen:
            problem = f"{row.prompt_id!r} is also the id of {seen[row.prompt_id]}"
            raise InvalidInput(f"{row.place} id", problem, "give every row an id of its own, or none")
        seen[row.prompt_id] = row.place
    return rows


def _pair(row: Row, stem: str) -> PairRow:
    chosen, rejected = _response(row, "chosen"), _response(row, "rejected")
    if chosen == rejected:
        raise InvalidInput(f"{row.place} rejected", "is the same text as chosen", "remove the row")
    return PairRow(**_prompt(row, stem), chosen=chosen, rejected=rejected)


def _prompt(row: Row, stem: str) -> dict[str, Any]:
    line = row.place.rpartition(":")[2]
    identity = row.values.get("id")
    if identity is not None and not (isinstance(identity, str) and identity):
        raise InvalidInput(
            f"{row.place} id", f"is {identity!r}", "write a string that is not empty, or leave it out"
        )
    source = row.values.get("source")
    return {
        "place": row.place,
        "prompt_id": identity or f"{stem}-{line}",
        "messages": _messages(row),
        "source": None if source is None else _text(source, f"{row.place} source"),
    }


def _messages(row: Row) -> Messages:
    field = f"{row.place} prompt"
    value = row.values.get("prompt")
    if isinstance(value, str):
        return ({"role": "user", "content": _text(value, field)},)
    if not isinstance(value, list) or not value:
        problem = "is missing" if value is None else f"is {value!r:.60}"
        raise InvalidInput(field, problem, f"write a string, or a list of messages such as {_MESSAGE}")
    messages = tuple(_message(message, f"{field}[{index}]") for index, message in enumerate(value))
    if messages[-1]["role"] != "user":
        raise InvalidInput(
            field, f"ends with the turn of {messages[-1]['role']}", "end it with the user's turn"
        )
    return messages


def _message(value: Any, field: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise InvalidInput(field, f"is {value!r:.60}", f"write a message such as {_MESSAGE}")
    if value.get("role") not in ROLES:
        raise InvalidInput(f"{field}.role", f"is {value.get('role')!r}", f"use one of {', '.join(ROLES)}")
    return {"role": value["role"], "content": _text(value.get("content"), f"{field}.content")}


def _response(row: Row, name: str) -> str:
    field = f"{row.place} {name}"
    if name not in row.values:
        raise InvalidInput(field, "is missing", "write the assistant's answer as a string")
    return _text(row.values[name], field)


def _text(value: Any, field: str) -> str:
    if not isinstance(value, str) or not value.strip():
        problem = f"is {value!r:.60}" if value else "is empty"
        raise InvalidInput(field, problem, "write a string that is not empty")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(field, f"is not valid Unicode: {error}", "write it again as UTF-8") from error
    return value
