"""How many rows a run's data sets have and how long they are: read where they are files of this machine."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote

from selfie.models.chat import Chat, ChatTokenizer
from selfie.prepare.datasets import Dataset, read_dataset
from selfie.prepare.rows import PromptRow, pair_rows, prompt_rows
from selfie.runs.estimates.data import EVALUATION, HELDOUT, SEED, PairSizes, PromptSizes, RunData
from selfie.runs.estimates.lengths import Length
from selfie.runs.lineage import prompt_group
from selfie.runs.sources import PromptSlice
from selfie.runs.spec import RunSpec

_Row = TypeVar("_Row", bound=PromptRow)

SAMPLED_ROWS = 200
"""Most rows of a data set that are tokenised."""

ASSUMED_ROWS = 1000
ASSUMED_PROMPT = Length(200, 560, 2048)
ASSUMED_RESPONSE = Length(215, 570, 2048)
"""Of data sets that are elsewhere: log-normal chats with medians of 150 and 180 tokens."""

_CHARACTERS = 4
"""Of a token of English, about; a turn's marks take about as many tokens."""


@dataclass(frozen=True)
class Counter:
    """Counts tokens of a chat, whose place is for errors, and of a response; ``basis`` says how."""

    chat: Callable[[Chat, str], int]
    response: Callable[[str], int]
    basis: str


def counter_of(tokenizer: ChatTokenizer) -> Counter:
    """Counts with the model's own tokenizer and template."""
    return Counter(
        lambda chat, place: len(tokenizer.prompt_ids(chat, field=f"{place} prompt").ids),
        lambda text: len(tokenizer.response_ids(text)),
        "tokenised",
    )


ROUGH_COUNTER = Counter(
    lambda chat, _place: sum(len(turn["content"]) // _CHARACTERS + _CHARACTERS for turn in chat),
    lambda text: len(text) // _CHARACTERS + 1,
    f"at {_CHARACTERS} characters a token",
)
"""For a model whose tokenizer is not at hand."""


def sizes_of(spec: RunSpec, counter: Counter, cache_root: Path) -> RunData:
    """The run's data sets, each file read once; what is elsewhere is assumed, and says so.

    `InvalidInput` for a file that is here and has too few rows or a wrong one, as `prepare` has it.
    """
    reader = _Reader(counter, spec.generation.max_prompt_tokens, cache_root)
    pairs: dict[str, PairSizes] = {}
    prompts: dict[str, PromptSizes] = {}
    if spec.seed:
        pairs[SEED] = reader.pairs(spec.seed.dataset, spec.seed.size, field="spec.seed.size")
        if spec.seed.heldout:
            size = spec.seed.heldout_size
            pairs[HELDOUT] = reader.pairs(spec.seed.heldout, size, field="spec.seed.heldoutSize")
    for number, entry in enumerate(spec.rounds, start=1):
        field = f"spec.rounds[{number - 1}].prompts"
        prompts[prompt_group(number)] = reader.prompts(entry.prompts, field=field)
    if spec.evaluation.prompts:
        prompts[EVALUATION] = reader.prompts(spec.evaluation.prompts, field="spec.evaluation.prompts")
    return RunData(pairs, prompts)


class _Reader:
    def __init__(self, counter: Counter, most_prompt_tokens: int, cache_root: Path) -> None:
        self._counter = counter
        self._most = most_prompt_tokens
        self._cache_root = cache_root
        self._read: dict[str, Dataset | None] = {}

    def pairs(self, uri: str, size: int, *, field: str) -> PairSizes:
        dataset = self._dataset(uri, field)
        if dataset is None:
            prompt = ASSUMED_PROMPT.cut_at(self._most)
            count = size or ASSUMED_ROWS
            return PairSizes(count, prompt, _assumed(size), ASSUMED_RESPONSE, assumed=True)
        rows = pair_rows(dataset, size=size, field=field)
        texts = [text for row in _sample(rows) for text in (row.chosen, row.rejected)]
        longest = max((text for row in rows for text in (row.chosen, row.rejected)), key=len)
        response = length_of([self._counter.response(text) for text in (*texts, longest)])
        return PairSizes(len(rows), self._prompt(rows), self._basis(rows), response)

    def prompts(self, given: PromptSlice, *, field: str) -> PromptSizes:
        dataset = self._dataset(given.dataset, f"{field}.dataset")
        if dataset is None:
            rows = given.count or ASSUMED_ROWS
            prompt = ASSUMED_PROMPT.cut_at(self._most)
            return PromptSizes(rows, prompt, _assumed(given.count), assumed=True)
        found = prompt_rows(dataset, start=given.from_, count=given.count, field=f"{field}.count")
        return PromptSizes(len(found), self._prompt(found), self._basis(found))

    def _prompt(self, rows: Sequence[PromptRow]) -> Length:
        longest = max(rows, key=lambda row: sum(len(turn["content"]) for turn in row.messages))
        counted = [self._counter.chat(row.messages, row.place) for row in (*_sample(rows), longest)]
        return length_of([min(tokens, self._most) for tokens in counted])

    def _basis(self, rows: Sequence[object]) -> str:
        part = "all" if len(rows) <= SAMPLED_ROWS else f"{SAMPLED_ROWS} and the longest"
        return f"{part} {self._counter.basis}"

    def _dataset(self, uri: str, field: str) -> Dataset | None:
        """The data set, or None if it is no file of this machine."""
        if uri not in self._read:
            scheme, separator, rest = uri.partition("://")
            here = Path(unquote(rest) if separator else uri)
            is_here = scheme == "file" or not separator
            self._read[uri] = (
                read_dataset(uri, cache_root=self._cache_root, field=field)
                if is_here and here.is_file()
                else None
            )
        return self._read[uri]


def length_of(tokens: Sequence[int]) -> Length:
    """Mean and 95 % quantile of all but the last text, and the longest of all; the last may be any."""
    *sample, last = tokens
    ordered = sorted(sample)
    quantile = ordered[math.ceil(0.95 * len(ordered)) - 1]
    return Length(statistics.fmean(ordered), quantile, max(ordered[-1], last))


def _sample(rows: Sequence[_Row]) -> list[_Row]:
    """At most `SAMPLED_ROWS`, evenly from all of them."""
    count = min(SAMPLED_ROWS, len(rows))
    return [rows[index * len(rows) // count] for index in range(count)]


def _assumed(rows: int) -> str:
    given = "lengths" if rows else "rows and lengths"
    return f"{given} assumed, because the file is not on this machine"
