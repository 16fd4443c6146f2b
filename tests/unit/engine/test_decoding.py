"""One batch: every response is what it would be alone, ends where it should, and costs no more."""

from pathlib import Path

import pytest

from selfie.engine.decoding import Prompt, Response, decode
from selfie.engine.sampling import SamplingParameters
from selfie.models.chat import ChatTokenizer
from selfie.models.loading import load_policy

LENGTHS = (3, 40, 41, 9, 22, 1, 17)


@pytest.fixture(scope="module")
def model(tiny_checkpoint: Path):
    return load_policy(tiny_checkpoint)


@pytest.fixture(scope="module")
def end_ids(tiny_checkpoint: Path) -> frozenset[int]:
    """More ends than the checkpoint's own, so that many responses of the random model end early."""
    return ChatTokenizer(tiny_checkpoint).end_of_turn_ids | frozenset(range(300, 320))


@pytest.fixture(scope="module")
def prompts() -> list[Prompt]:
    return [
        Prompt(
            ids=tuple((7 * place + 13 * length) % 390 for place in range(length)),
            seeds=tuple(100 * length + index for index in range(3)),
        )
        for length in LENGTHS
    ]


def sampled(new_tokens: int = 30, temperature: float = 0.9, top_p: float = 0.95) -> SamplingParameters:
    return SamplingParameters(temperature, top_p, new_tokens)


def flat(answer: list[list[Response]] | None) -> list[Response]:
    assert answer is not None
    return [response for responses in answer for response in responses]


@pytest.fixture
def passes(model):
    """Shape (rows, tokens) of every forward pass made in the test."""
    shapes: list[tuple[int, ...]] = []
    hook = model.register_forward_pre_hook(
        lambda _module, _positional, named: shapes.append(tuple(named["input_ids"].shape)), with_kwargs=True
    )
    yield shapes
    hook.remove()


@pytest.mark.parametrize("top_p", [0.95, 1.0])
def test_a_sample_does_not_depend_on_its_batch(model, prompts, end_ids, top_p):
    together = flat(decode(model, prompts, sampled(top_p=top_p), end_ids=end_ids))
    alone = [
        flat(decode(model, [Prompt(prompt.ids, (seed,))], sampled(top_p=top_p), end_ids=end_ids))[0]
        for prompt in prompts
        for seed in prompt.seeds
    ]
    backwards = decode(model, prompts[::-1], sampled(top_p=top_p), end_ids=end_ids)
    assert together == alone
    assert together == flat(backwards[::-1])
    assert len({response.ids for response in together}) > len(LENGTHS)


def windowed_model():
    """A random Mistral whose layers see the last eight tokens alone."""
    import torch
    from transformers import MistralConfig, MistralForCausalLM

    config = MistralConfig(
        vocab_size=400,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=8,
        initializer_range=0.2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return MistralForCausalLM(config).eval()


@pytest.mark.parametrize("windowed", [False, True])
def test_greedy_decoding_is_that_of_transformers(model, prompts, end_ids, windowed):
    import torch

    decoding = windowed_model() if windowed else model
    answer = decode(decoding, prompts, SamplingParameters(0.0, 1.0, 12), end_ids=end_ids)
    for prompt, responses in zip(prompts, answer, strict=True):
        expected = decoding.generate(
            torch.tensor([prompt.ids]),
            attention_mask=torch.ones(1, len(prompt.ids), dtype=torch.long),
            max_new_tokens=12,
            do_sample=False,
            eos_token_id=sorted(end_ids),
            pad_token_id=0,
        )[0, len(prompt.ids) :]
        assert {response.ids for response in responses} == {tuple(expected.tolist())}


def test_first_tokens_are_drawn_by_the_models_distribution(model):
    import torch

    prompt = Prompt(tuple(range(20, 40)), tuple(range(4000)))
    drawn = flat(decode(model, [prompt], sampled(1, 1.0, 1.0), end_ids=frozenset()))
    firsts = [response.ids[0] for response in drawn]
    with torch.inference_mode():
        expected = model(torch.tensor([prompt.ids])).logits[0, -1].double().softmax(-1)
    shares = torch.bincount(torch.tensor(firsts), minlength=len(expected)).double() / len(firsts)
    assert float((shares - expected).abs().sum()) / 2 < 0.12
    assert float((shares - expected).abs().max()) < 0.03


def test_an_end_token_ends_the_response_is_kept_and_nothing_follows(model, prompts, end_ids):
    responses = flat(decode(model, prompts, sampled(), end_ids=end_ids))
    ended = [response for response in responses if response.finish_reason == "stop"]
    cut = [response for response in responses if response.finish_reason == "length"]
    assert ended
    assert cut
    for response in ended:
        assert response.ids[-1] in end_ids
        assert not end_ids & set(response.ids[:-1])
    for response in cut:
        assert len(response.ids) == 30
        assert not end_ids & set(response.ids)


def test_an_end_token_at_the_limit_is_a_stop(model, prompts, end_ids):
    answer = decode(model, prompts, sampled(), end_ids=end_ids)
    prompt, response = next(
        (prompt, response)
        for prompt, responses in zip(prompts, answer, strict=True)
        for response in responses
        if response.finish_reason == "stop"
    )
    again = decode(model, [Prompt(prompt.ids, (response.seed,))], sampled(len(response.ids)), end_ids=end_ids)
    assert flat(again) == [response]


def test_a_prompt_is_computed_once_for_all_its_samples(model, end_ids, passes):
    decode(model, [Prompt(tuple(range(50)), tuple(range(8)))], sampled(4), end_ids=frozenset())
    assert passes == [(1, 50), (8, 1), (8, 1), (8, 1)]


def test_rows_that_have_ended_leave_the_batch_and_the_batch_ends_with_the_last(
    model, prompts, end_ids, passes
):
    several = [prompt for prompt in prompts if len(prompt.ids) > 1]
    responses = flat(decode(model, several, sampled(60), end_ids=end_ids))
    alive = [sum(len(response.ids) > step for response in responses) for step in range(1, 60)]
    assert min(alive) < len(responses)
    assert [rows for rows, tokens in passes if tokens == 1] == [count for count in alive if count]


def test_prompts_of_unlike_length_are_not_padded_to_the_longest(model, passes):
    decode(model, [Prompt(tuple(range(390)), (1,)), Prompt((5, 6), (2,))], sampled(1), end_ids=frozenset())
    assert passes == [(1, 390), (1, 2)]


def test_an_abandoned_batch_ends_at_its_next_token(model, prompts, end_ids, passes):
    asked = iter([False, False, True])
    answer = decode(model, prompts[:1], sampled(), end_ids=frozenset(), abandoned=lambda: next(asked))
    assert answer is None
    assert len(passes) == 3
