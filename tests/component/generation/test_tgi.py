"""Text Generation Inference as it really behaves, through a stand-in that is as strict."""

import asyncio

import pytest
from aiohttp import web

from selfie.errors import FailedPrecondition, InvalidInput, Overloaded, Unavailable
from selfie.generation.canary import ask_canary
from selfie.generation.engines import EngineFault, SamplingParameters, SeededPrompt
from selfie.generation.http.clients import Access
from selfie.generation.retries import RetryLimits
from selfie.generation.seeds import renewed_seed
from selfie.tracing.attempts import attempt_span, trace_of
from tgi_server import TgiStandIn
from toy_models import ToyModel

from .conftest import OTHER, POLICY

SAMPLED = SamplingParameters(0.7, 1.0, 12)
TWO_TRIES = RetryLimits(attempts=2, seconds=5, first_wait_s=0.01, longest_wait_s=0.02)


async def sample(engine, prompts, parameters=SAMPLED):
    return await engine.sample(prompts, parameters, weights_digest=POLICY)


def sent(standin):
    return [generation["parameters"] for generation in standin.generations]


async def test_every_seed_is_a_generation_of_its_own_and_told_explicitly_to_sample(tgi, prompts):
    standin = await tgi.start()
    samples = await sample(tgi.engine(), prompts)
    assert [[one.seed for one in of_prompt] for of_prompt in samples] == [list(one.seeds) for one in prompts]
    assert sorted(given["seed"] for given in sent(standin)) == sorted(
        seed for prompt in prompts for seed in prompt.seeds
    )
    common = {"do_sample": True, "temperature": 0.7, "max_new_tokens": 12, "details": True}
    for given in sent(standin):
        assert {name: given[name] for name in common} == common
        assert "top_p" not in given


async def test_a_nucleus_is_sent_and_the_whole_distribution_is_not(tgi, prompts):
    standin = await tgi.start()
    await sample(tgi.engine(), prompts[:1], SamplingParameters(1.0, 0.9, 4))
    assert {given["top_p"] for given in sent(standin)} == {0.9}


async def test_greedy_decoding_names_nothing_that_would_make_it_sample(tgi, prompts):
    standin = await tgi.start()
    await sample(tgi.engine(), [SeededPrompt(prompts[0].prompt_ids, (1,))], SamplingParameters(0.0, 1.0, 4))
    assert sent(standin) == [
        {"do_sample": False, "details": True, "max_new_tokens": 4, "return_full_text": False}
    ]


async def test_ids_text_and_log_probabilities_are_those_that_were_sampled(tgi, toy_model, tokenizer, prompts):
    standin = await tgi.start()
    for prompt, samples in zip(prompts, await sample(tgi.engine(), prompts), strict=True):
        for seed, one in zip(prompt.seeds, samples, strict=True):
            drawn = toy_model.draw(standin.model_id, prompt.prompt_ids, seed=seed, limit=12)
            assert one.response_ids == drawn.ids
            assert one.logprobs == pytest.approx(drawn.logprobs)
            assert one.text == tokenizer.decode_response(drawn.ids)
            assert one.finish_reason == ("stop" if drawn.ended else "length")
            assert one.ids_from == "engine"


async def test_an_end_of_turn_at_the_very_limit_counts_as_the_end(tgi, toy_model, prompts):
    standin = await tgi.start()
    ids = prompts[0].prompt_ids
    ends = (
        seed
        for seed in range(1, 500)
        if len(toy_model.draw(standin.model_id, ids, seed=seed, limit=3).ids) == 3
        and toy_model.draw(standin.model_id, ids, seed=seed, limit=3).ended
    )
    [[one]] = await sample(tgi.engine(), [SeededPrompt(ids, (next(ends),))], SamplingParameters(0.7, 1.0, 3))
    assert (len(one.response_ids), one.finish_reason) == (3, "stop")


async def test_text_that_was_cut_inside_a_character_is_made_from_the_ids(tgi, toy_model, tokenizer, prompts):
    standin = await tgi.start()
    ids = prompts[0].prompt_ids
    cut = next(
        seed
        for seed in range(1, 5000)
        if toy_model.decode(toy_model.draw(standin.model_id, ids, seed=seed, limit=5).ids).endswith("\ufffd")
        and not toy_model.draw(standin.model_id, ids, seed=seed, limit=5).ended
    )
    [[one]] = await sample(tgi.engine(), [SeededPrompt(ids, (cut,))], SamplingParameters(0.7, 1.0, 5))
    assert len(one.response_ids) == 5
    assert one.text == tokenizer.decode_response(one.response_ids) != ""


async def test_a_response_ends_with_the_turn_even_if_the_engine_does_not_know_that(tgi, tokenizer, prompts):
    standin = await tgi.start(eos_in_list=False)
    samples = await sample(tgi.engine(), prompts, SamplingParameters(0.7, 1.0, 40))
    assert len(standin.generations) == 15
    finished = [one for of_prompt in samples for one in of_prompt if one.finish_reason == "stop"]
    assert len(finished) > 5
    for one in finished:
        assert tokenizer.is_finished(one.response_ids)
        assert not tokenizer.end_of_turn_ids & set(one.response_ids[:-1])
        assert len(one.logprobs) == len(one.response_ids)


async def test_the_first_sample_of_a_prompt_goes_ahead_of_the_others(tgi, prompts):
    standin = await tgi.start()
    standin.faults.slow_s = 0.2
    work = asyncio.create_task(sample(tgi.engine(), prompts[:1]))
    while not standin.generations:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    assert [given["seed"] for given in sent(standin)] == [prompts[0].seeds[0]]
    await work
    assert len(standin.generations) == 3


async def test_every_distinct_prompt_is_held_against_the_engines_tokenizer_once(tgi, prompts):
    standin = await tgi.start()
    engine = tgi.engine()
    await sample(engine, prompts)
    await sample(engine, prompts)
    assert len(standin.tokenized) == len(set(standin.tokenized)) == 5


async def test_an_engine_that_tokenises_otherwise_is_refused_before_it_samples(tgi, tiny_checkpoint, prompts):
    other = ToyModel(tiny_checkpoint)
    other.tokenizer.add_tokens(["What is"])
    standin = await tgi.start(model=other)
    with pytest.raises(FailedPrecondition) as caught:
        await sample(tgi.engine(), prompts[:1])
    assert caught.value.reason == "PromptIdsDiffer"
    assert standin.generations == []


async def test_more_new_tokens_than_it_samples_in_one_go_are_refused_before_anything_is_asked(tgi, prompts):
    standin = await tgi.start()
    with pytest.raises(InvalidInput, match="at most 1024"):
        await sample(tgi.engine(), prompts, SamplingParameters(0.7, 1.0, 1500))
    assert standin.tokenized == standin.generations == []


async def test_overload_is_waited_out_without_a_word_on_when_to_come_back(tgi, prompts):
    standin = await tgi.start()
    expected = await sample(tgi.engine(), prompts)
    standin.faults.overloaded = 5
    assert await sample(tgi.engine(), prompts) == expected


async def test_overload_that_lasts_is_told(tgi, prompts):
    standin = await tgi.start()
    standin.faults.overloaded = 100
    with pytest.raises(Overloaded, match="Model is overloaded"):
        await sample(tgi.engine(limits=TWO_TRIES), prompts[:1])


async def test_no_more_is_asked_at_once_than_four_fifths_of_its_permits(tgi, prompts):
    standin = await tgi.start(max_concurrent_requests=5)
    standin.faults.slow_s = 0.1
    await sample(tgi.engine(), prompts)
    assert 1 < standin.most_at_once <= 4


async def test_a_cut_connection_is_asked_again_with_the_same_seeds(tgi, prompts):
    standin = await tgi.start()
    expected = await sample(tgi.engine(), prompts)
    standin.faults.reset = 2
    assert await sample(tgi.engine(), prompts) == expected


@pytest.mark.parametrize("fault", ["shard", "incomplete"])
async def test_a_failed_generation_is_asked_for_once_more_with_another_seed(tgi, prompts, fault):
    standin = await tgi.start()
    setattr(standin.faults, fault, 1)
    asking = asyncio.create_task(sample(tgi.engine(), [SeededPrompt(prompts[0].prompt_ids, (7,))]))
    while not standin.generations:
        await asyncio.sleep(0.01)
    standin.revive()
    [[one]] = await asking
    assert one.seed == renewed_seed(7)
    assert [given["seed"] for given in sent(standin)] == [7, renewed_seed(7)]


async def test_a_generation_that_fails_twice_is_given_up(tgi, prompts):
    standin = await tgi.start()
    standin.faults.incomplete = 9
    with pytest.raises(EngineFault, match="Incomplete generation"):
        await sample(tgi.engine(), [SeededPrompt(prompts[0].prompt_ids, (7,))])
    assert len(standin.generations) == 2


async def test_a_request_that_it_finds_wrong_is_never_repeated(tgi, prompts):
    standin = await tgi.start(max_total_tokens=40)
    with pytest.raises(InvalidInput, match="must be <= 40"):
        await sample(tgi.engine(), prompts[:1], SamplingParameters(0.7, 1.0, 39))
    assert sum("content-type" in headers for headers in standin.headers) == 2  # /tokenize, /generate


async def test_an_answer_that_takes_too_long_is_given_up(tgi, prompts):
    standin = await tgi.start()
    standin.faults.slow_s = 60
    with pytest.raises(Unavailable, match="no answer within 2 s"):
        await sample(tgi.engine(access=Access(timeout_s=2), limits=TWO_TRIES), prompts[:1])
    async with asyncio.timeout(20):
        while not standin.cancelled:
            await asyncio.sleep(0.01)


async def test_whoever_gives_up_stops_the_engines_work(tgi, prompts):
    standin = await tgi.start()
    standin.faults.slow_s = 30
    work = asyncio.create_task(sample(tgi.engine(), prompts))
    while len(standin.generations) < 5:
        await asyncio.sleep(0.01)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    async with asyncio.timeout(20):
        while standin.cancelled < 5:
            await asyncio.sleep(0.01)


async def test_all_requests_of_an_attempt_are_spans_of_its_trace(tgi, prompts):
    standin = await tgi.start()
    with attempt_span("work", run_uid="uid", step="rounds/01/generate", attempt=1):
        await sample(tgi.engine(), prompts)
    parts = [headers["traceparent"].split("-") for headers in standin.headers]
    assert {part[1] for part in parts} == {trace_of("uid", "rounds/01/generate", 1)}
    assert len({part[2] for part in parts}) == len(parts)


async def test_the_engines_key_is_sent_and_no_other(tgi, prompts, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_" + "a" * 30)
    guarded = await tgi.start(api_key="s3cret")
    await sample(tgi.engine(access=Access("s3cret", timeout_s=30)), prompts[:1])
    assert {headers.get("authorization") for headers in guarded.headers} == {"Bearer s3cret"}


async def test_without_a_key_nothing_of_this_machine_is_sent(tgi, prompts, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_" + "a" * 30)
    standin = await tgi.start()
    await sample(tgi.engine(), prompts[:1])
    assert {headers.get("authorization") for headers in standin.headers} == {None}


async def test_a_wrong_key_is_told_and_not_tried_again(tgi, prompts):
    await tgi.start(api_key="s3cret")
    with pytest.raises(FailedPrecondition) as caught:
        await sample(tgi.engine(access=Access("wrong", timeout_s=30)), prompts[:1])
    assert caught.value.reason == "EngineKeyRefused"


async def test_its_identity_is_the_digest_that_its_model_directory_is_named_by(tgi):
    await tgi.start(max_total_tokens=3000)
    identity = await tgi.engine().identity()
    assert (identity.weights_digest, identity.max_context_tokens) == (POLICY, 3000)
    assert identity.engine == "tgi/3.3.6-dev0"


async def test_an_engine_with_other_weights_samples_nothing(tgi, prompts):
    standin = await tgi.start(OTHER)
    for asked in (tgi.engine().identity(), sample(tgi.engine(), prompts)):
        with pytest.raises(FailedPrecondition) as caught:
            await asked
        assert caught.value.reason == "WeightsMismatch"
    assert standin.generations == []


async def test_an_engine_that_is_not_well_is_not_asked(tgi, prompts):
    standin = await tgi.start()
    standin.healthy = False
    with pytest.raises(Unavailable, match="unhealthy"):
        await sample(tgi.engine(limits=TWO_TRIES), prompts)
    assert standin.generations == []


@pytest.mark.parametrize(
    "answer", ["[]", "{}", '"a"', '{"generated_text": "a"}', '{"generated_text": 3, "details": 4}', "a"]
)
async def test_an_answer_that_is_no_generation_is_told(tgi, prompts, answer):
    standin = await tgi.start()

    class Odd(TgiStandIn):
        async def _generate(self, request):
            return web.Response(text=answer, content_type="application/json")

    odd = Odd(standin.model, standin.model_id)
    await tgi.servers[0].restart(odd.application)
    with pytest.raises(FailedPrecondition) as caught:
        await sample(tgi.engine(), prompts[:1])
    assert caught.value.reason == "EngineAnswerUnusable"


async def test_the_engines_key_is_never_shown():
    assert "s3cret" not in repr(Access("s3cret"))


async def test_the_canary_reads_an_engines_own_numbers(tgi, toy_model, prompts):
    await tgi.start()

    async def score(readings):
        present = [
            toy_model.draw(f"/weights/{POLICY}", one.prompt_ids, seed=None, limit=24).logprobs[
                : len(one.logprobs)
            ]
            for one in readings
        ]
        return present, [[-9.0] * len(one.logprobs) for one in readings]

    verdict = await ask_canary(tgi.engine(), prompts, POLICY, score)
    assert (verdict.outcome, verdict.present) == ("proven", 0.0)
