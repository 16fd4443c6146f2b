"""From Python's values to requests."""

import pytest

from selfie.client.questions import compare_request, rank_request, score_request
from selfie.errors import InvalidInput
from selfie.v1 import scoring_pb2


def test_a_text_is_what_a_user_said():
    request = compare_request("Hi", "Yes", "No", {})
    assert (request.prompt.text, request.first.text, request.second.text) == ("Hi", "Yes", "No")


def test_a_chat_and_token_ids_are_told_apart():
    chat = score_request([{"role": "system", "content": "Be short."}], ["Yes"], {}).prompt
    ids = score_request([1, 2, 3], [[4, 5]], {})
    assert [(turn.role, turn.content) for turn in chat.messages] == [("system", "Be short.")]
    assert list(ids.prompt.prompt_ids) == [1, 2, 3]
    assert list(ids.responses[0].response_ids) == [4, 5]


def test_options_have_the_names_of_the_protos():
    options = rank_request(
        "Hi",
        ["a", "b"],
        {
            "beta": 0.5,
            "normalization": "mean",
            "lambdas": (0.5, 1),
            "per_token": True,
            "truncation": "prompt_start",
            "tie_margin": 0.1,
        },
    ).options
    assert (options.beta, options.per_token, options.tie_margin) == (0.5, True, 0.1)
    assert options.normalization == scoring_pb2.NORMALIZATION_MEAN
    assert options.truncation == scoring_pb2.TRUNCATION_PROMPT_START
    assert list(options.lambdas) == [0.5, 1]


@pytest.mark.parametrize(
    ("options", "field"), [({"betta": 1}, "betta"), ({"normalization": "median"}, "normalization")]
)
def test_what_is_no_option_is_refused_with_those_that_are(options, field: str):
    with pytest.raises(InvalidInput, match="use one of") as caught:
        score_request("Hi", ["a"], options)
    assert caught.value.field == field
