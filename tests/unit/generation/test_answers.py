"""From what an engine answers to a sample."""

import pytest

from selfie.errors import FailedPrecondition
from selfie.generation.answers import SampledIds, require_same_ids, sample_of_ids, sample_of_text
from selfie.models.chat import ChatTokenizer


@pytest.fixture(scope="module")
def tokenizer(tiny_checkpoint):
    return ChatTokenizer(tiny_checkpoint)


def test_a_response_ends_with_its_first_end_of_turn(tokenizer):
    hello = tokenizer.response_ids("hello")
    one = sample_of_ids(SampledIds((*hello, 7, 8), 1, stopped=False), 100, tokenizer)
    assert (one.response_ids, one.text, one.finish_reason) == (hello, "hello", "stop")


def test_what_runs_on_past_the_limit_is_cut_there(tokenizer):
    one = sample_of_ids(SampledIds((50, 51, 52, 53), 1, stopped=True, logprobs=(-1.0,) * 4), 3, tokenizer)
    assert (one.response_ids, one.finish_reason, one.logprobs) == ((50, 51, 52), "length", (-1.0,) * 3)


def test_an_engine_that_ends_turns_by_another_token_is_refused(tokenizer):
    with pytest.raises(FailedPrecondition, match="as a list in eos_token_id") as caught:
        sample_of_ids(SampledIds((50, 51), 1, stopped=True), 100, tokenizer)
    assert caught.value.reason == "EndOfTurnDiffers"


def test_text_alone_gets_ids_again_with_the_end_only_where_it_ended(tokenizer):
    finished = sample_of_text("hello", stopped=True, seed=5, tokenizer=tokenizer)
    cut = sample_of_text("hello", stopped=False, seed=5, tokenizer=tokenizer)
    assert (
        finished.response_ids
        == tokenizer.response_ids("hello")
        == (*cut.response_ids, tokenizer.end_of_turn_id)
    )
    assert (finished.finish_reason, cut.finish_reason) == ("stop", "length")
    assert {finished.ids_from, cut.ids_from} == {"retokenized"}


@pytest.mark.parametrize(
    ("found", "difference"),
    [((1, 9, 3), "9 in place of 2 as id 1 of 3"), ((1, 2, 3, 3), "4 ids in place of 3")],
)
def test_a_prompt_that_is_read_otherwise_is_told_where(found, difference):
    with pytest.raises(FailedPrecondition, match=difference) as caught:
        require_same_ids((1, 2, 3), found, "http://engine")
    assert caught.value.reason == "PromptIdsDiffer"
