"""Which rows of which calls are computed together next.

First come, first served, as many calls as the token budget holds. A call that asks for more than that
gives way to the others after each turn, so that nobody waits for the whole of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from selfie.scoring.rows import Row, RowScore, Wanted


@dataclass(eq=False)
class Job:
    """One call's distinct rows: those still to be computed, and what was found for the others."""

    left: list[Row]
    wanted: Wanted
    deadline: float | None
    added: float
    found: dict[Row, RowScore] = field(default_factory=dict)
    future: "Future[dict[Row, RowScore]]" = field(default_factory=Future)
    tokens: int = field(init=False)

    def __post_init__(self) -> None:
        # Counted once, as it is asked for with every call that comes and goes.
        self.tokens = tokens_of(self.left)

    def take_in(self, found: Mapping[Row, RowScore]) -> None:
        """Moves rows from those left to those found."""
        self.found |= found
        self.left = [row for row in self.left if row not in found]
        self.tokens = tokens_of(self.left)

    def is_given_up(self, now: float) -> bool:
        """Nobody waits for it any more."""
        return self.future.cancelled() or (self.deadline is not None and now > self.deadline)


Share = tuple[Job, Sequence[Row]]
"""A job, and the rows of it that are computed next."""


def tokens_of(rows: Iterable[Row]) -> int:
    """What rows take when they are computed together: each prompt once."""
    rows = list(rows)
    prompts = {row.prompt_ids for row in rows}
    return sum(map(len, prompts)) + sum(len(row.response_ids) for row in rows)


def next_turn(jobs: Sequence[Job], token_budget: int) -> list[Share]:
    """Rows of the first job, and of those after it that want the same, as far as the budget goes.

    The first row of the first job always has its turn, however long it is.
    """
    if not jobs:
        return []
    room, prompts, shares = token_budget, set[tuple[int, ...]](), list[Share]()
    for job in jobs:
        taken: list[Row] = []
        if job.wanted == jobs[0].wanted:
            for row in job.left:
                cost = len(row.response_ids) + (0 if row.prompt_ids in prompts else len(row.prompt_ids))
                if cost > room and (taken or shares):
                    break
                room -= cost
                prompts.add(row.prompt_ids)
                taken.append(row)
        if taken:
            shares.append((job, taken))
    return shares
