"""What waits for the engine, and what of it is decoded together.

A call is taken apart into pieces (some seeds of one prompt), so that a long call neither has to
fit into one batch nor keeps a short one from filling it up. Not safe for threads: its owner is.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from selfie.engine.decoding import Prompt, Response
from selfie.engine.sampling import SamplingParameters

Answer = list[list[Response]]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a batch and of the queue.

    ``rows`` responses at a time; ``tokens`` is the room that they take in the cache, prompt and
    response together; ``queued_rows`` is how many may wait before calls are refused.
    """

    rows: int = 128
    tokens: int = 32_768
    queued_rows: int = 4096

    def most_rows(self, width: int) -> int:
        """Most rows of ``width`` tokens each; a row on its own always fits."""
        return max(1, min(self.rows, self.tokens // width))


class Call:
    """One call: what it asks for, and its answer as far as it is there."""

    def __init__(self, prompts: Sequence[Prompt], parameters: SamplingParameters, limits: Limits) -> None:
        self.parameters = parameters
        self.future: Future[Answer] = Future()
        self.rows = sum(len(prompt.seeds) for prompt in prompts)
        self.waiting = deque(self._pieces(prompts, limits))
        self._answers: list[dict[int, Response]] = [{} for _ in prompts]
        self._missing = self.rows
        self._complete()

    def _pieces(self, prompts: Sequence[Prompt], limits: Limits) -> Iterator["Piece"]:
        """Longest first, so that prompts of like length share a batch and little is padded."""
        for index in sorted(range(len(prompts)), key=lambda index: -len(prompts[index].ids)):
            ids, seeds = prompts[index].ids, prompts[index].seeds
            most = limits.most_rows(len(ids) + self.parameters.max_new_tokens)
            for start in range(0, len(seeds), most):
                yield Piece(self, index, start, Prompt(ids, seeds[start : start + most]))

    def store(self, piece: "Piece", responses: Sequence[Response]) -> None:
        """Takes the responses of one piece; the last piece completes the answer."""
        if self.future.done():
            return
        self._answers[piece.prompt_index].update(enumerate(responses, start=piece.first))
        self._missing -= len(responses)
        self._complete()

    def _complete(self) -> None:
        if self._missing == 0 and self.future.set_running_or_notify_cancel():
            self.future.set_result([[found[place] for place in range(len(found))] for found in self._answers])

    def fail(self, error: BaseException) -> None:
        """Ends the call with an error, unless it has already ended."""
        if not self.future.done() and self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Some samples of one prompt of a call: the part that is never taken apart."""

    call: Call
    prompt_index: int
    first: int
    prompt: Prompt


class Backlog:
    """The calls that wait, first come first served."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._calls: deque[Call] = deque()

    @property
    def rows(self) -> int:
        """Rows that wait and that somebody still wants."""
        return sum(
            len(piece.prompt.seeds)
            for call in self._calls
            if not call.future.done()
            for piece in call.waiting
        )

    def add(self, call: Call) -> bool:
        """Takes the call in, unless the queue is full; one call alone is never too large."""
        queued = self.rows
        if queued and queued + call.rows > self._limits.queued_rows:
            return False
        self._calls.append(call)
        return True

    def next_batch(self) -> list[Piece]:
        """Pieces to decode now, longest prompt first: those of the oldest call, and what joins them.

        Calls with equal parameters share a batch. Pieces that nobody waits for any more are
        dropped. Empty if nothing waits.
        """
        self._drop_ended()
        batch: list[Piece] = []
        for call in self._calls:
            if call.parameters == self._calls[0].parameters:
                self._fill(batch, call)
        self._drop_ended()
        return sorted(batch, key=lambda piece: -len(piece.prompt.ids))

    def drain(self) -> list[Call]:
        """Takes all calls out."""
        calls = list(self._calls)
        self._calls.clear()
        return calls

    def _fill(self, batch: list[Piece], call: Call) -> None:
        while call.waiting and self._fits(batch, call.waiting[0], call.parameters.max_new_tokens):
            batch.append(call.waiting.popleft())

    def _fits(self, batch: list[Piece], piece: Piece, new_tokens: int) -> bool:
        together = [*batch, piece]
        rows = sum(len(one.prompt.seeds) for one in together)
        longest = max(len(one.prompt.ids) for one in together)
        return rows <= self._limits.most_rows(longest + new_tokens)

    def _drop_ended(self) -> None:
        self._calls = deque(call for call in self._calls if call.waiting and not call.future.done())
