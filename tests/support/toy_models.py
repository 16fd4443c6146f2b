"""A language model without weights: its tokens are drawn from its name, the prompt and the seed.

So every stand-in of an engine samples the same from the same, two sets of weights sample
differently, and a response tells whose it is.
"""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer


@dataclass(frozen=True)
class Drawn:
    """Ids with the end token if it was drawn, and a log-probability for each."""

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    ended: bool


class ToyModel:
    """Draws from ``tokens``, ends a turn with ``end_id`` by the chance ``end_chance`` at each step."""

    def __init__(self, directory: Path, *, ends_with: str = "<|im_end|>", end_chance: float = 0.2) -> None:
        self.tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self.end_id = self.tokenizer.token_to_id(ends_with)
        special = {
            token for token, added in self.tokenizer.get_added_tokens_decoder().items() if added.special
        }
        self.tokens = [token for token in range(self.tokenizer.get_vocab_size()) if token not in special]
        self.end_chance = end_chance

    def encode(self, text: str) -> list[int]:
        """Ids as an engine makes them of text: with the tokenizer's own special tokens."""
        return list(self.tokenizer.encode(text, add_special_tokens=True).ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Text without special tokens."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    def draw(self, weights: str, prompt_ids: Sequence[int], *, seed: int | None, limit: int) -> Drawn:
        """A response; ``seed`` None is greedy."""
        rng = random.Random(f"{weights}|{list(prompt_ids)}|{seed}")
        ids: list[int] = []
        logprobs: list[float] = []
        while len(ids) < limit:
            ended = rng.random() < self.end_chance
            ids.append(self.end_id if ended else rng.choice(self.tokens))
            logprobs.append(-rng.random() * 3)
            if ended:
                return Drawn(tuple(ids), tuple(logprobs), ended=True)
        return Drawn(tuple(ids), tuple(logprobs), ended=False)


def digest_of(name: str) -> str:
    """A digest to name weights by."""
    return hashlib.sha256(name.encode()).hexdigest()
