"""Checked rows as tables of token ids: each prompt rendered, tokenised and cut once.

What no later step could do anything about, a response that does not fit into the model's context
with its prompt, is refused here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from selfie.artifacts.rows import PREFERENCE_SCHEMA, PROMPT_SCHEMA
from selfie.errors import InvalidInput
from selfie.models.chat import ChatTokenizer, Prompt
from selfie.prepare.rows import PairRow, PromptRow

# Called once a row, with how many rows are done.
Tick = Callable[[], None]


@dataclass(frozen=True)
class Limits:
    """In tokens: where prompts are cut, and what prompt and response may have together, if known."""

    prompt: int
    context: int | None


@dataclass(frozen=True)
class Group:
    """A data set of the run under its name, as a table by ``schema``."""

    name: str
    table: pa.Table
    schema: pa.Schema

    @property
    def truncated(self) -> int:
        """How many prompts were cut."""
        return sum(self.table.column("truncated").to_pylist())

    @property
    def prompt_digests(self) -> set[str]:
        """Digests of its prompts' ids."""
        return set(self.table.column("prompt_digest").to_pylist())


class Tokeniser:
    """Makes groups of rows with one tokenizer and one set of limits."""

    def __init__(self, tokenizer: ChatTokenizer, limits: Limits, tick: Tick) -> None:
        """`InvalidInput` when prompts may be so long that no response fits after them."""
        self._tokenizer = tokenizer
        self._limits = limits
        self._tick = tick
        if limits.context is not None and limits.prompt >= limits.context:
            problem = f"is {limits.prompt}, and the model reads {limits.context} tokens with the response"
            raise InvalidInput("maxPromptTokens", problem, "choose a smaller one")

    def prompts(self, name: str, rows: Sequence[PromptRow]) -> Group:
        """A group of prompts."""
        table = pa.Table.from_pylist([self._prompt_columns(row)[0] for row in rows], schema=PROMPT_SCHEMA)
        return Group(name, table, PROMPT_SCHEMA)

    def pairs(self, name: str, rows: Sequence[PairRow]) -> Group:
        """A group of pairs, whose responses end with the end-of-turn token."""
        table = pa.Table.from_pylist([self._pair_columns(row) for row in rows], schema=PREFERENCE_SCHEMA)
        return Group(name, table, PREFERENCE_SCHEMA)

    def _pair_columns(self, row: PairRow) -> dict[str, Any]:
        columns, prompt = self._prompt_columns(row)
        return {
            **columns,
            "pair_id": row.prompt_id,
            "chosen_text": row.chosen,
            "chosen_ids": self._response(row, "chosen", prompt),
            "rejected_text": row.rejected,
            "rejected_ids": self._response(row, "rejected", prompt),
            "ids_from": "retokenized",
        }

    def _prompt_columns(self, row: PromptRow) -> tuple[dict[str, Any], Prompt]:
        self._tick()
        prompt = self._tokenizer.prompt_ids(
            row.messages, max_prompt_tokens=self._limits.prompt, field=f"{row.place} prompt"
        )
        columns = {
            "prompt_id": row.prompt_id,
            "messages": list(row.messages),
            "prompt_ids": prompt.ids,
            "prompt_digest": prompt.digest,
            "truncated": prompt.truncated,
            "source": row.source,
        }
        return columns, prompt

    def _response(self, row: PairRow, side: str, prompt: Prompt) -> tuple[int, ...]:
        ids = self._tokenizer.response_ids(getattr(row, side))
        tokens = len(prompt.ids) + len(ids)
        if self._limits.context is not None and tokens > self._limits.context:
            problem = f"has {tokens} tokens with its prompt, and the model reads {self._limits.context}"
            raise InvalidInput(
                f"{row.place} {side}", problem, "shorten or remove it, or lower maxPromptTokens"
            )
        return ids
