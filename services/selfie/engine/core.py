"""The embedded engine as the rest of Selfie sees it; knows nothing of the wire.

One thread computes, because torch blocks and takes all processors anyway. What waits when it
becomes free goes into one batch.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from selfie.engine import metrics
from selfie.engine.batching import Answer, Backlog, Call, Limits, Piece
from selfie.engine.decoding import Prompt
from selfie.engine.sampling import SamplingParameters
from selfie.errors import FailedPrecondition, InvalidInput, Overloaded, Unavailable

Abandoned = Callable[[], bool]
Decode = Callable[[Sequence[Prompt], SamplingParameters, Abandoned], Answer | None]

_SHORTEST_RETRY_S, _LONGEST_RETRY_S = 0.5, 60.0
# Calls sent together arrive a little apart; a batch that starts with the first goes half empty.
_GATHER_S = 0.02


@dataclass(frozen=True, slots=True)
class Identity:
    """Who answers: the checkpoint's and tokenizer's digests, and how it computes."""

    weights_digest: str
    tokenizer_digest: str
    max_context_tokens: int
    vocabulary_size: int
    precision: str
    engine: str


class Engine:
    """Samples from one checkpoint; calls from one event loop or many are batched together.

    ``decode`` runs one batch in the engine's thread, in the order given; it is asked to stop
    when nobody waits for any of it.
    """

    def __init__(self, decode: Decode, identity: Identity, limits: Limits) -> None:
        self.identity = identity
        self._decode = decode
        self._limits = limits
        self._backlog = Backlog(limits)
        self._changed = threading.Condition()
        self._closed = False
        self._seconds_per_row = 0.0
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    def require(self, weights_digest: str) -> None:
        """Raises `FailedPrecondition` ``WeightsMismatch`` unless these are the weights served."""
        if weights_digest != self.identity.weights_digest:
            raise FailedPrecondition(
                "WeightsMismatch",
                f"the engine serves the weights {self.identity.weights_digest}, not {weights_digest}",
            )

    async def sample(self, prompts: Sequence[Prompt], parameters: SamplingParameters) -> Answer:
        """One response for each seed of each prompt, in the order given.

        A caller that goes away takes with it what has not been started. Raises `InvalidInput`
        for a prompt that does not fit, `Overloaded` when too much waits already.
        """
        for index, prompt in enumerate(prompts):
            self._check(prompt, parameters.max_new_tokens, f"prompts[{index}].prompt_ids")
        call = Call(prompts, parameters, self._limits)
        with self._changed:
            self._admit(call)
            self._changed.notify()
        return await asyncio.wrap_future(call.future)

    def close(self) -> None:
        """Ends the thread after the token that it is at; whoever waits gets `Unavailable`."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        for call in self._backlog.drain():
            call.fail(_closing())

    def _check(self, prompt: Prompt, max_new_tokens: int, field: str) -> None:
        room, length = self.identity.max_context_tokens, len(prompt.ids)
        if length + max_new_tokens > room:
            raise InvalidInput(
                field,
                f"{length} prompt tokens and {max_new_tokens} new ones exceed the model's {room}",
                f"cut the prompt to {max(0, room - max_new_tokens)} tokens or ask for fewer new ones",
            )
        if min(prompt.ids) < 0 or max(prompt.ids) >= self.identity.vocabulary_size:
            raise InvalidInput(
                field,
                f"has an id outside the vocabulary of {self.identity.vocabulary_size}",
                "tokenise it with the policy's own tokenizer",
            )

    def _admit(self, call: Call) -> None:
        if self._closed:
            raise _closing()
        if not self._backlog.add(call):
            seconds = self._backlog.rows * self._seconds_per_row
            raise Overloaded(
                f"{self._backlog.rows} samples wait already",
                retry_after_s=min(max(seconds, _SHORTEST_RETRY_S), _LONGEST_RETRY_S),
            )
        metrics.QUEUED_ROWS.set(self._backlog.rows)

    def _work(self) -> None:
        while batch := self._next_batch():
            self._run(batch)

    def _next_batch(self) -> list[Piece]:
        """Waits for work, and a moment for what comes with it; empty when the engine is closed."""
        with self._changed:
            while not self._closed:
                self._changed.wait_for(lambda: self._enough(1))
                self._changed.wait_for(lambda: self._enough(self._limits.rows), timeout=_GATHER_S)
                if not self._closed and (batch := self._backlog.next_batch()):
                    metrics.QUEUED_ROWS.set(self._backlog.rows)
                    return batch
        return []

    def _enough(self, rows: int) -> bool:
        return self._closed or self._backlog.rows >= rows

    def _run(self, batch: list[Piece]) -> None:
        started = time.monotonic()
        calls = {piece.call for piece in batch}
        try:
            answer = self._decode(
                [piece.prompt for piece in batch],
                batch[0].call.parameters,
                lambda: self._closed or all(call.future.done() for call in calls),
            )
        except Exception as error:
            for call in calls:
                call.fail(error)
            return
        if answer is None:
            for call in calls:
                call.fail(_closing())
            return
        self._note(batch, answer, time.monotonic() - started)
        for piece, responses in zip(batch, answer, strict=True):
            piece.call.store(piece, responses)

    def _note(self, batch: list[Piece], answer: Answer, seconds: float) -> None:
        rows = sum(len(responses) for responses in answer)
        self._seconds_per_row = seconds / rows
        metrics.BATCH_ROWS.observe(rows)
        metrics.BATCH_SECONDS.observe(seconds)
        metrics.PROMPT_TOKENS.inc(sum(len(piece.prompt.ids) for piece in batch))
        metrics.RESPONSE_TOKENS.inc(sum(len(one.ids) for responses in answer for one in responses))


def _closing() -> Unavailable:
    return Unavailable("the engine is shutting down; ask another one")
