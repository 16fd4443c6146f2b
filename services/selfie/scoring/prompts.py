"""Prompts that were computed before: a caller who asks again about one pays for its responses alone."""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from torch import Tensor

from selfie.scoring import metrics

Key = tuple[Hashable, tuple[int, ...]]
"""Whose weights in which products, and the ids of the prompt."""


@dataclass(frozen=True)
class KeptPrompt:
    """Rotated keys and values [layers, copies · heads, tokens, size], and the last state [copies, hidden]."""

    keys: Tensor
    values: Tensor
    end: Tensor

    @property
    def bytes(self) -> int:
        return sum(each.numel() * each.element_size() for each in (self.keys, self.values, self.end))


class PromptCache:
    """Keeps the prompts that were used last, in at most ``max_bytes``; for one thread."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[Key, KeptPrompt] = OrderedDict()

    @property
    def enabled(self) -> bool:
        """Whether anything is ever kept."""
        return self._max_bytes > 0

    def recall(
        self, whose: Hashable, prompts: Sequence[tuple[int, ...]]
    ) -> dict[tuple[int, ...], KeptPrompt]:
        """Of these prompts, those that are known."""
        found: dict[tuple[int, ...], KeptPrompt] = {}
        for ids in prompts:
            kept = self._kept.get((whose, ids))
            if kept is not None:
                self._kept.move_to_end((whose, ids))
                found[ids] = kept
            metrics.PROMPTS.labels("hit" if kept is not None else "miss").inc()
        return found

    def keep(self, whose: Hashable, ids: tuple[int, ...], prompt: KeptPrompt) -> None:
        """Takes in a prompt unless it is too large, and forgets those that were not used for longest."""
        if prompt.bytes > self._max_bytes or (whose, ids) in self._kept:
            return
        self._kept[whose, ids] = prompt
        self._bytes += prompt.bytes
        while self._bytes > self._max_bytes:
            _, forgotten = self._kept.popitem(last=False)
            self._bytes -= forgotten.bytes
        metrics.PROMPT_BYTES.set(self._bytes)
