"""What can be asked, and how it becomes rows of token ids: no messages, no transport, no torch.

A text is tokenised here once, with the end-of-turn token; ids are scored as they are. Nothing is
truncated unless the caller says where; what is too long or empty is refused by the name of its field.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from selfie.errors import InvalidInput
from selfie.models.chat import ChatTokenizer
from selfie.scoring.places import PairName
from selfie.scoring.precision import AnyMode
from selfie.scoring.rewards import RewardRule, least_certain_two
from selfie.scoring.rows import Engine, Row

Truncation = Literal["fail", "prompt_start", "response_end"]


@dataclass(frozen=True)
class Prompt:
    """A chat, as (role, content) turns, its token ids, or the one text of a user."""

    messages: tuple[tuple[str, str], ...] = ()
    ids: tuple[int, ...] = ()
    text: str = ""


@dataclass(frozen=True)
class Response:
    """Either the text of an assistant's turn or its token ids."""

    text: str = ""
    ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Options:
    """How rewards are made and compared.

    ``lambdas`` are the extrapolations to score with as well, and margins up to ``tie_margin`` are
    ties even where the error is smaller. ``precision`` None is what the scorer was told to use, and
    ``weights`` None those that it was started with.
    """

    rule: RewardRule = field(default_factory=RewardRule)
    lambdas: tuple[float, ...] = ()
    truncation: Truncation = "fail"
    tie_margin: float = 0.0
    precision: AnyMode | None = None
    weights: PairName | None = None

    def tie_band(self, bounds: Sequence[float]) -> float:
        """Margins up to this are ties, among rewards of such bounds."""
        return max(self.tie_margin, least_certain_two(bounds))


@dataclass(frozen=True)
class Asked:
    """Rows to score, one for each response, and what was done to make them.

    ``ended`` says of each whether its last token ends the turn; ``prompt_cut`` tokens were left out at
    the prompt's start, and ``cut`` at each response's end.
    """

    rows: tuple[Row, ...]
    ended: tuple[bool, ...]
    prompt_cut: int = 0
    cut: tuple[int, ...] = ()

    @property
    def tokens(self) -> int:
        """What they come to, the prompt counted once."""
        return len(self.rows[0].prompt_ids) + sum(len(row.response_ids) for row in self.rows)


class Questions:
    """Makes rows for the models of one engine; may be used from many threads."""

    def __init__(self, engine: Engine, tokenizer: ChatTokenizer) -> None:
        self._engine = engine
        self._tokenizer = tokenizer

    def asked(self, prompt: Prompt, responses: Mapping[str, Response], truncation: Truncation) -> Asked:
        """The rows of responses that are known by the name of their field; InvalidInput by field."""
        whole = self._prompt_ids(prompt)
        found = {name: self._response_ids(name, response) for name, response in responses.items()}
        prompt_ids, fitting = _fitted(whole, found, truncation, self._engine.max_tokens)
        rows = {name: Row(prompt_ids, ids) for name, ids in fitting.items()}
        for name, row in rows.items():
            check_row(name, row, self._engine, remedy=_REMEDY)
        return Asked(
            rows=tuple(rows.values()),
            ended=tuple(self._tokenizer.is_finished(ids) for ids in fitting.values()),
            prompt_cut=len(whole) - len(prompt_ids),
            cut=tuple(len(found[name]) - len(ids) for name, ids in fitting.items()),
        )

    def _prompt_ids(self, prompt: Prompt) -> tuple[int, ...]:
        if sum(map(bool, (prompt.messages, prompt.ids, prompt.text))) != 1:
            raise InvalidInput("prompt", "has several of text, messages and ids, or none", "give one of them")
        if prompt.ids:
            return prompt.ids
        if prompt.messages:
            turns = [{"role": role, "content": content} for role, content in prompt.messages]
            return self._tokenizer.prompt_ids(turns, field="prompt.messages").ids
        try:
            return self._tokenizer.prompt_ids([{"role": "user", "content": prompt.text}]).ids
        except InvalidInput as error:
            raise InvalidInput("prompt.text", error.problem, error.remedy) from error

    def _response_ids(self, name: str, response: Response) -> tuple[int, ...]:
        if bool(response.text) == bool(response.ids):
            raise InvalidInput(name, "has both text and ids, or is empty", "give text or response_ids")
        if response.ids:
            return response.ids
        return self._tokenizer.response_ids(response.text)


_REMEDY = "send at most {limit}, or set options.truncation"


def check_row(
    name: str, row: Row, engine: Engine, *, remedy: str = "send at most {limit}; nothing is truncated here"
) -> None:
    """InvalidInput for more ids than the models have positions for, and for ids outside the vocabulary.

    ``{limit}`` in the ``remedy`` is how many a prompt and response may have together.
    """
    if row.tokens > engine.max_tokens:
        problem = f"prompt and response have {row.tokens} tokens together"
        raise InvalidInput(name, problem, remedy.format(limit=engine.max_tokens))
    for ids in (row.prompt_ids, row.response_ids):
        if min(ids, default=0) < 0 or max(ids, default=0) >= engine.vocabulary:
            strange = next(token for token in ids if not 0 <= token < engine.vocabulary)
            remedy = f"use ids from 0 to {engine.vocabulary - 1}"
            raise InvalidInput(name, f"has the id {strange}, which is not in the vocabulary", remedy)


def _fitted(
    prompt: tuple[int, ...], responses: Mapping[str, tuple[int, ...]], truncation: Truncation, limit: int
) -> tuple[tuple[int, ...], Mapping[str, tuple[int, ...]]]:
    """Prompt and responses, cut where the caller allows it to the tokens that the models can hold."""
    if truncation == "prompt_start":
        name, longest = max(responses.items(), key=lambda item: len(item[1]))
        if len(longest) >= limit:
            problem = f"has {len(longest)} tokens, which leaves none for the prompt"
            raise InvalidInput(name, problem, f"send fewer than {limit}")
        return prompt[-(limit - len(longest)) :], responses
    if truncation == "response_end":
        if len(prompt) >= limit:
            problem = f"has {len(prompt)} tokens, which leaves none for a response"
            raise InvalidInput("prompt", problem, f"send fewer than {limit}")
        return prompt, {name: ids[: limit - len(prompt)] for name, ids in responses.items()}
    return prompt, responses
