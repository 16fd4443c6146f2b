"""The engine without a model: a decoder that the test holds in its hand."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from selfie.engine.batching import Answer, Limits
from selfie.engine.core import Engine, Identity
from selfie.engine.decoding import Prompt, Response
from selfie.engine.sampling import SamplingParameters
from selfie.errors import FailedPrecondition, InvalidInput, Overloaded, Unavailable

PARAMETERS = SamplingParameters(0.7, 1.0, 10)
IDENTITY = Identity(
    weights_digest="a" * 64,
    tokenizer_digest="b" * 64,
    max_context_tokens=64,
    vocabulary_size=100,
    precision="float32",
    engine="toy",
)


class ToyDecoder:
    """Answers each seed with itself; waits before each batch until it is let go on."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.entered = threading.Event()
        self.go_on = threading.Event()
        self.error: Exception | None = None

    def __call__(
        self, prompts: Sequence[Prompt], parameters: SamplingParameters, abandoned: Callable[[], bool]
    ) -> Answer | None:
        self.batches.append([seed for prompt in prompts for seed in prompt.seeds])
        self.entered.set()
        while not self.go_on.wait(0.01):
            if abandoned():
                return None
        if self.error is not None:
            raise self.error
        return [[Response((seed,), "length", seed) for seed in prompt.seeds] for prompt in prompts]


@pytest.fixture
def decoder() -> ToyDecoder:
    return ToyDecoder()


@pytest.fixture
async def engine(decoder: ToyDecoder) -> AsyncIterator[Engine]:
    made = Engine(decoder, IDENTITY, Limits(rows=8, queued_rows=10))
    yield made
    made.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


def ask(engine: Engine, *seeds: int, parameters: SamplingParameters = PARAMETERS) -> asyncio.Task[Answer]:
    return asyncio.create_task(engine.sample([Prompt((1, 2, 3), seeds)], parameters))


async def ask_and_start(engine: Engine, decoder: ToyDecoder, *seeds: int) -> asyncio.Task[Answer]:
    asked = ask(engine, *seeds)
    await until(decoder.entered.is_set)
    return asked


async def test_what_waits_while_the_engine_works_goes_into_one_batch(engine, decoder):
    first = await ask_and_start(engine, decoder, 1)
    others = [ask(engine, 2, 3), ask(engine, 4)]
    await asyncio.sleep(0.02)
    decoder.go_on.set()
    answers = [(await asked)[0] for asked in (first, *others)]
    assert decoder.batches == [[1], [2, 3, 4]]
    assert [[response.seed for response in responses] for responses in answers] == [[1], [2, 3], [4]]


async def test_calls_that_come_together_share_the_first_batch(engine, decoder):
    decoder.go_on.set()
    await asyncio.gather(*(ask(engine, seed) for seed in range(4)))
    assert decoder.batches == [[0, 1, 2, 3]]


async def test_a_full_queue_is_overload_with_a_time_to_come_back(engine, decoder):
    running = await ask_and_start(engine, decoder, 1)
    waiting = ask(engine, *range(10))
    await asyncio.sleep(0.02)
    with pytest.raises(Overloaded) as caught:
        await ask(engine, 99)
    assert 0 < caught.value.retry_after_s <= 60
    decoder.go_on.set()
    await asyncio.gather(running, waiting)
    assert await ask(engine, 99)


async def test_a_caller_that_leaves_takes_its_waiting_rows_with_it(engine, decoder):
    running = await ask_and_start(engine, decoder, 1)
    leaving, staying = ask(engine, 2), ask(engine, 3)
    await asyncio.sleep(0.02)
    leaving.cancel()
    decoder.go_on.set()
    await asyncio.gather(running, staying)
    assert decoder.batches == [[1], [3]]


async def test_a_batch_that_nobody_waits_for_any_more_is_ended(engine, decoder):
    leaving = await ask_and_start(engine, decoder, 1)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    decoder.entered.clear()
    following = await ask_and_start(engine, decoder, 2)  # the first batch never got to go on
    decoder.go_on.set()
    assert (await following)[0][0].seed == 2


async def test_an_error_of_the_decoder_reaches_every_caller_of_the_batch_and_the_next_is_served(
    engine, decoder
):
    running = await ask_and_start(engine, decoder, 1)
    both = [ask(engine, 2), ask(engine, 3)]
    await asyncio.sleep(0.02)
    decoder.error = MemoryError("no room")
    decoder.go_on.set()
    ended = await asyncio.gather(running, *both, return_exceptions=True)
    assert [type(error) for error in ended] == [MemoryError] * 3
    decoder.error = None
    assert await ask(engine, 4)


async def test_closing_ends_the_batch_and_tells_all_who_wait(decoder):
    engine = Engine(decoder, IDENTITY, Limits())
    running, waiting = await ask_and_start(engine, decoder, 1), ask(engine, 2)
    await asyncio.sleep(0.02)
    await asyncio.to_thread(engine.close)
    for asked in (running, waiting):
        with pytest.raises(Unavailable, match="shutting down"):
            await asked
    with pytest.raises(Unavailable, match="shutting down"):
        await ask(engine, 3)


async def test_a_prompt_that_leaves_no_room_is_refused_with_what_would_fit(engine):
    with pytest.raises(InvalidInput, match="cut the prompt to 54 tokens") as caught:
        await engine.sample([Prompt((1,), (1,)), Prompt((1,) * 55, (1,))], PARAMETERS)
    assert caught.value.field == "prompts[1].prompt_ids"


async def test_a_prompt_that_just_fits_is_sampled(engine, decoder):
    decoder.go_on.set()
    assert await engine.sample([Prompt((1,) * 54, (1,))], PARAMETERS)


@pytest.mark.parametrize("token", [-1, 100])
async def test_an_id_outside_the_vocabulary_is_refused(engine, token):
    with pytest.raises(InvalidInput, match="outside the vocabulary"):
        await engine.sample([Prompt((1, token), (1,))], PARAMETERS)


async def test_other_weights_than_those_served_are_refused(engine):
    engine.require("a" * 64)
    with pytest.raises(FailedPrecondition) as caught:
        engine.require("c" * 64)
    assert caught.value.reason == "WeightsMismatch"
