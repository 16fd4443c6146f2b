"""What goes into a batch together, and what is refused."""

from selfie.engine.batching import Backlog, Call, Limits
from selfie.engine.decoding import Prompt, Response
from selfie.engine.sampling import SamplingParameters

PARAMETERS = SamplingParameters(0.7, 1.0, 10)


def prompt(length: int, seeds: int = 1) -> Prompt:
    return Prompt(tuple(range(length)), tuple(range(seeds)))


def call(*prompts: Prompt, parameters: SamplingParameters = PARAMETERS, limits: Limits | None = None) -> Call:
    return Call(prompts, parameters, limits or Limits())


def backlog(*calls: Call, limits: Limits | None = None) -> Backlog:
    waiting = Backlog(limits or Limits())
    assert all(waiting.add(one) for one in calls)
    return waiting


def sizes(pieces) -> list[tuple[int, int]]:
    """Length and number of seeds of each piece."""
    return [(len(piece.prompt.ids), len(piece.prompt.seeds)) for piece in pieces]


def answered(seeds: tuple[int, ...]) -> list[Response]:
    return [Response((seed,), "length", seed) for seed in seeds]


def test_calls_with_equal_parameters_share_a_batch_longest_prompt_first():
    waiting = backlog(call(prompt(5, 2), prompt(9)), call(prompt(7)))
    assert sizes(waiting.next_batch()) == [(9, 1), (7, 1), (5, 2)]
    assert waiting.next_batch() == []


def test_calls_with_other_parameters_wait_for_a_batch_of_their_own():
    other = SamplingParameters(1.0, 1.0, 10)
    waiting = backlog(call(prompt(5)), call(prompt(6), parameters=other), call(prompt(7)))
    assert sizes(waiting.next_batch()) == [(7, 1), (5, 1)]
    assert sizes(waiting.next_batch()) == [(6, 1)]


def test_a_batch_has_no_more_rows_than_allowed():
    limits = Limits(rows=4)
    waiting = backlog(call(prompt(5, 3), prompt(6, 3), limits=limits), limits=limits)
    assert sizes(waiting.next_batch()) == [(6, 3)]
    assert sizes(waiting.next_batch()) == [(5, 3)]


def test_the_rows_of_a_batch_fit_into_its_tokens_at_the_width_of_the_longest():
    limits = Limits(tokens=60)
    waiting = backlog(call(prompt(20), prompt(5, 4), limits=limits), limits=limits)
    assert sizes(waiting.next_batch()) == [(20, 1)]
    assert sizes(waiting.next_batch()) == [(5, 4)]


def test_a_prompt_with_more_samples_than_a_batch_is_taken_apart_and_put_together_again():
    limits = Limits(rows=4)
    asked = call(prompt(5, 10), limits=limits)
    waiting = backlog(asked, limits=limits)
    while batch := waiting.next_batch():
        for piece in batch:
            piece.call.store(piece, answered(piece.prompt.seeds))
    assert [[response.seed for response in asked.future.result(0)[0]]] == [list(range(10))]


def test_a_row_too_wide_for_the_tokens_still_gets_a_batch():
    limits = Limits(tokens=8)
    waiting = backlog(call(prompt(50, 2), limits=limits), limits=limits)
    assert sizes(waiting.next_batch()) == [(50, 1)]


def test_pieces_that_nobody_waits_for_are_dropped():
    gone, here = call(prompt(5, 3)), call(prompt(6))
    waiting = backlog(gone, here)
    gone.future.cancel()
    assert waiting.rows == 1
    assert sizes(waiting.next_batch()) == [(6, 1)]


def test_a_full_queue_refuses_but_one_call_alone_is_never_too_large():
    limits = Limits(queued_rows=4)
    waiting = Backlog(limits)
    assert waiting.add(call(prompt(5, 9)))
    assert not waiting.add(call(prompt(5)))
    while waiting.next_batch():
        pass
    assert waiting.add(call(prompt(5)))


def test_an_answer_is_in_the_order_of_the_prompts_whatever_the_order_of_the_batch():
    asked = call(prompt(3), prompt(9), prompt(6))
    for piece in backlog(asked).next_batch():
        piece.call.store(piece, [Response((len(piece.prompt.ids),), "length", 0)])
    assert [responses[0].ids for responses in asked.future.result(0)] == [(3,), (9,), (6,)]


def test_a_call_for_nothing_is_answered_at_once():
    assert call().future.result(0) == []
    assert call(prompt(5, 0)).future.result(0) == [[]]
