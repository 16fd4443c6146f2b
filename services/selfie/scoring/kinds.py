"""The two kinds of data set that can be scored: what a policy sampled, and what people labelled."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from types import MappingProxyType
from typing import Literal, Protocol

from selfie.errors import InvalidInput
from selfie.method.pairing import NoPair
from selfie.scoring.judged import Fields, Judging, human_pair, human_samples, self_made_pair
from selfie.scoring.preference_measures import PreferenceTally
from selfie.scoring.sample_measures import SampleTally

KindName = Literal["samples", "preferences"]


class Kind(Protocol):
    """What is done with the rows of a data set, group by group, and what they amount to."""

    def groups(self, rows: Iterable[Fields]) -> Iterator[Sequence[Fields]]:
        """The rows in groups that are kept together; each makes at most one pair."""
        ...

    def samples(self, group: Sequence[Fields]) -> Sequence[Fields]:
        """The responses to score, by SAMPLE_SCHEMA."""
        ...

    def add(self, group: Sequence[Fields], scored: Sequence[Fields], /) -> Fields | NoPair:
        """Makes the group's pair of its scored responses, and counts it."""
        ...

    def counts(self) -> dict[str, int]: ...

    def measures(self) -> dict[str, float]: ...


class Samples:
    """Sampled responses: a group is one prompt's, and the judge chooses among them."""

    def __init__(self, judging: Judging) -> None:
        self._judging = judging
        self._tally = SampleTally()

    def groups(self, rows: Iterable[Fields]) -> Iterator[Sequence[Fields]]:
        """InvalidInput for a prompt whose responses do not follow one another."""
        seen: set[str] = set()
        for prompt_id, group in groupby(rows, key=lambda row: str(row["prompt_id"])):
            if prompt_id in seen:
                remedy = "keep a prompt's responses together"
                raise InvalidInput("input", f"has the prompt {prompt_id!r} in two places", remedy)
            seen.add(prompt_id)
            yield list(group)

    def samples(self, group: Sequence[Fields]) -> Sequence[Fields]:
        return group

    def add(self, _group: Sequence[Fields], scored: Sequence[Fields], /) -> Fields | NoPair:
        pair = self_made_pair(scored, self._judging)
        self._tally.add(scored, pair)
        return pair

    def counts(self) -> dict[str, int]:
        return self._tally.counts()

    def measures(self) -> dict[str, float]:
        return self._tally.measures()


class Preferences:
    """Labelled pairs: a group is one of them, and the implicit judge is measured, whatever judge is set."""

    def __init__(self, judging: Judging) -> None:
        self._judging = judging
        self._tally = PreferenceTally(judging.rule)

    def groups(self, rows: Iterable[Fields]) -> Iterator[Sequence[Fields]]:
        return ([row] for row in rows)

    def samples(self, group: Sequence[Fields]) -> Sequence[Fields]:
        return human_samples(group[0])

    def add(self, group: Sequence[Fields], scored: Sequence[Fields], /) -> Fields | NoPair:
        chosen, rejected = scored
        pair = human_pair(group[0], chosen, rejected, self._judging)
        self._tally.add(scored, pair)
        return pair

    def counts(self) -> dict[str, int]:
        return self._tally.counts()

    def measures(self) -> dict[str, float]:
        return self._tally.measures()


KINDS: Mapping[KindName, Callable[[Judging], Kind]] = MappingProxyType(
    {"samples": Samples, "preferences": Preferences}
)
