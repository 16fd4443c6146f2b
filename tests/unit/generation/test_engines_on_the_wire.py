"""What engines behind HTTP are asked, and what their failures mean."""

import httpx2
import pytest

from selfie.errors import FailedPrecondition, InvalidInput, Overloaded, SelfieError, Unavailable
from selfie.generation.digests import digest_in
from selfie.generation.engines import EngineFault, Policy, SamplingParameters
from selfie.generation.fleet.servers import Wanted
from selfie.generation.http.failures import message_of, refused
from selfie.generation.openai.answers import Completion
from selfie.generation.openai.capabilities import Capabilities, ask_capabilities
from selfie.generation.openai.identities import sglang_digest
from selfie.generation.openai.kinds import LLAMA_CPP, PLAIN, SGLANG, TRANSFORMERS, VLLM
from selfie.generation.openai.requests import completion_body, seeds_for
from selfie.generation.retries import is_passing

DIGEST, OTHER = "a" * 64, "b" * 64
EVERYTHING = Capabilities(True, True, True, True)


def answer(status: int, **kwargs) -> httpx2.Response:
    return httpx2.Response(status, **kwargs)


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (429, Overloaded, "Overloaded"),
        (502, Unavailable, "Unavailable"),
        (503, Unavailable, "Unavailable"),
        (504, Unavailable, "Unavailable"),
        (424, EngineFault, "EngineFault"),
        (500, EngineFault, "EngineFault"),
        (501, EngineFault, "EngineFault"),
        (401, FailedPrecondition, "EngineKeyRefused"),
        (403, FailedPrecondition, "EngineKeyRefused"),
        (404, FailedPrecondition, "EngineUnsuitable"),
        (405, FailedPrecondition, "EngineUnsuitable"),
        (308, FailedPrecondition, "EngineUnsuitable"),
        (400, InvalidInput, "InvalidInput"),
        (413, InvalidInput, "InvalidInput"),
        (422, InvalidInput, "InvalidInput"),
    ],
)
def test_each_refusal_has_its_meaning(status: int, kind: type[SelfieError], reason: str):
    error = refused(answer(status, json={"error": "what it says"}), "http://engine/generate")
    assert (type(error), error.reason) == (kind, reason)
    assert "what it says" in str(error)


def test_only_what_passes_by_itself_is_waited_for():
    assert is_passing(Unavailable("gone"))
    assert is_passing(Overloaded("full", retry_after_s=0))
    assert not is_passing(EngineFault("broke"))
    assert not is_passing(InvalidInput("a", "b", "c"))


@pytest.mark.parametrize(
    ("given", "seconds"),
    [({}, 0), ({"retry-after": "7"}, 7), ({"retry-after": "tomorrow"}, 0), ({"retry-after": "9999"}, 60)],
)
def test_a_proxys_word_on_when_to_come_back_is_heard_within_bounds(given, seconds):
    error = refused(answer(429, headers=given), "http://engine")
    assert isinstance(error, Overloaded)
    assert error.retry_after_s == seconds


@pytest.mark.parametrize(
    ("response", "said"),
    [
        (answer(422, json={"error": "too long", "error_type": "validation"}), "too long"),
        (answer(400, json={"error": {"message": "no model", "code": 400}}), "no model"),
        (answer(422, json={"detail": "prompt must be a string."}), "prompt must be a string."),
        (answer(400, text="Failed  to\nparse"), "Failed to parse"),
        (answer(502, text="<html>" * 1000), ("<html>" * 1000)[:500]),
        (answer(401), ""),
    ],
)
def test_a_server_is_quoted_however_it_says_it(response, said):
    assert message_of(response) == said


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        (f"/weights/{DIGEST}", DIGEST),
        (f"/weights/{DIGEST}/", DIGEST),
        (DIGEST, DIGEST),
        (f"/weights/{DIGEST}/checkpoint", ""),
        (f"/weights/x{DIGEST}", ""),
        (DIGEST.upper(), ""),
        ("org/model", ""),
        (None, ""),
    ],
)
def test_weights_are_known_by_the_last_part_of_their_path(name, digest):
    assert digest_in(name) == digest


@pytest.mark.parametrize(
    ("label", "path", "digest"),
    [
        ("default", f"/w/{DIGEST}", DIGEST),
        ("", f"/w/{DIGEST}", DIGEST),
        (DIGEST, f"/w/{DIGEST}", DIGEST),
        (DIGEST, "org/model", DIGEST),
        (DIGEST, f"/w/{OTHER}", ""),
        ("moving", f"/w/{DIGEST}", ""),
        ("default", "org/model", ""),
    ],
)
def test_sglangs_label_and_path_must_not_name_different_weights(label, path, digest):
    assert sglang_digest(label, path) == digest


def test_seeds_fit_the_server_and_are_those_that_it_uses():
    wide = [2**64 - 1, 3]
    assert seeds_for(VLLM, wide) == [2**62 - 1, 2**62]
    assert seeds_for(VLLM, [5]) == [5]
    assert seeds_for(SGLANG, wide) == [2**62 - 1, 3]
    assert seeds_for(PLAIN, wide) == [2**31 - 1, 3]


def wanted(tokenizer, **changes) -> Wanted:
    ids = tokenizer.prompt_ids([{"role": "user", "content": "What is the sea?"}]).ids
    return Wanted(ids, SamplingParameters(0.7, 0.9, 8, **changes), Policy(DIGEST, tokenizer))


@pytest.fixture(scope="module")
def tokenizer(tiny_checkpoint):
    from selfie.models.chat import ChatTokenizer

    return ChatTokenizer(tiny_checkpoint)


def test_each_kind_is_asked_for_what_it_can_and_in_its_own_words(tokenizer):
    asked = wanted(tokenizer)
    vllm = completion_body(VLLM, EVERYTHING, "m", asked, [1, 2])
    assert vllm == {
        "model": "m",
        "prompt": list(asked.prompt_ids),
        "max_tokens": 8,
        "temperature": 0.7,
        "top_p": 0.9,
        "seed": 1,
        "n": 2,
        "return_token_ids": True,
        "return_weight_versions": True,
        "stop_token_ids": sorted(tokenizer.end_of_turn_ids),
    }
    nothing = Capabilities(False, False, False, False)
    plain = completion_body(PLAIN, nothing, "m", asked, [1])
    assert plain == {
        "model": "m", "prompt": asked.text, "max_tokens": 8, "temperature": 0.7, "top_p": 0.9, "seed": 1
    }  # fmt: skip
    assert completion_body(LLAMA_CPP, nothing, "m", asked, [1]) == plain | {"top_k": 0, "min_p": 0.0}
    assert '"do_sample": true' in completion_body(TRANSFORMERS, nothing, "m", asked, [1])["generation_config"]


async def capabilities_of(*takes: str) -> tuple[Capabilities, list[dict]]:
    """What is found out about a server that takes so much, and by which requests."""
    bodies: list[dict] = []

    async def complete(body):
        bodies.append(body)
        special = {"ids": isinstance(body["prompt"], list), "n": "n" in body}
        special |= {"return_token_ids": "return_token_ids" in body, "logprobs": "logprobs" in body}
        if any(used and name not in takes for name, used in special.items()):
            raise InvalidInput("generation", "unknown field", "leave it out")
        choice = {
            "text": "a",
            "finish_reason": "length",
            "token_ids": [1, 2] if special["return_token_ids"] else None,
            "logprobs": {"token_logprobs": [-1.0, -1.0]} if special["logprobs"] else None,
        }
        choices = [choice | {"index": index} for index in range(body.get("n", 1))]
        counted = {"prompt_tokens": 3 if special["ids"] else 1}
        return Completion.model_validate({"model": "m", "choices": choices, "usage": counted})

    return await ask_capabilities(complete, "m"), bodies


async def test_a_server_that_can_everything_is_asked_once():
    found, bodies = await capabilities_of("ids", "n", "return_token_ids", "logprobs")
    assert (found, len(bodies)) == (EVERYTHING, 1)


@pytest.mark.parametrize(
    ("takes", "expected"),
    [
        (("ids",), Capabilities(True, False, False, False)),
        (("return_token_ids", "logprobs"), Capabilities(False, True, False, True)),
        (("n",), Capabilities(False, False, True, False)),
        ((), Capabilities(False, False, False, False)),
    ],
)
async def test_what_a_server_will_not_have_is_found_out_one_by_one(takes, expected):
    assert (await capabilities_of(*takes))[0] == expected
