"""vLLM, SGLang and plain servers, each through a stand-in with its own habits."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from http_servers import HttpServer
from openai_servers import LlamaCppStandIn, StandIn, TransformersStandIn
from selfie.errors import FailedPrecondition, InvalidInput, SelfieError, Unavailable
from selfie.generation.engines import EngineFault, Policy, SamplingParameters
from selfie.generation.fleet.checks import PromptChecks
from selfie.generation.fleet.discovery import Discovery
from selfie.generation.fleet.engine import FleetEngine
from selfie.generation.fleet.members import Fleet
from selfie.generation.http.clients import Access, JsonServer
from selfie.generation.openai.handover import load_adapter, unload_adapter
from selfie.generation.openai.server import OpenAIServer
from sglang_server import SglangStandIn
from toy_models import ToyModel
from vllm_server import VllmStandIn

from .conftest import OTHER, PATIENT, POLICY, QUICK, told

SAMPLED = SamplingParameters(0.7, 1.0, 12)
HERE, THERE = f"/weights/{POLICY}", f"/weights/{OTHER}"


class Servers:
    """Starts stand-ins, and makes engines that go through all of them."""

    def __init__(self, tokenizer, stack: AsyncExitStack) -> None:
        self._tokenizer = tokenizer
        self._stack = stack
        self.running: list[HttpServer] = []

    async def start(self, standin: StandIn) -> StandIn:
        server = HttpServer(standin.application)
        await server.start()
        self._stack.push_async_callback(server.stop)
        self.running.append(server)
        return standin

    def fleet(self, **settings: Any) -> Fleet:
        targets = ",".join(server.url for server in self.running)
        fleet = Fleet(Discovery(targets), lambda address: OpenAIServer(address, PATIENT, **settings))
        self._stack.push_async_callback(fleet.close)
        return fleet

    def engine(self, weights: str = POLICY, **settings: Any) -> FleetEngine:
        return FleetEngine(self.fleet(**settings), Policy(weights, self._tokenizer), PromptChecks(), QUICK)

    async def json(self) -> JsonServer:
        [address] = await Discovery(self.running[0].url).addresses()
        server = JsonServer(address, Access())
        self._stack.push_async_callback(server.close)
        return server


@pytest.fixture
async def servers(tokenizer) -> AsyncIterator[Servers]:
    async with AsyncExitStack() as stack:
        yield Servers(tokenizer, stack)


async def sample(engine, prompts, parameters=SAMPLED, weights=POLICY):
    return await engine.sample(prompts, parameters, weights_digest=weights)


def real_requests(standin: StandIn) -> list[dict[str, Any]]:
    """Completions without the ones that ask what it can."""
    return [body for body in standin.asked if body["max_tokens"] != 2]


def all_drawn(model: ToyModel, weights: str, prompts, samples, limit: int = 12) -> bool:
    """Whether every sample is what these weights give for the seed that it names."""
    return told(samples) == [
        [
            (model.draw(weights, prompt.prompt_ids, seed=one.seed, limit=limit).ids, one.seed)
            for one in of_prompt
        ]
        for prompt, of_prompt in zip(prompts, samples, strict=True)
    ]


async def test_vllm_gives_all_samples_of_a_prompt_at_once_as_ids(servers, toy_model, prompts):
    standin = await servers.start(VllmStandIn(toy_model, HERE))
    samples = await sample(servers.engine(), prompts)
    assert all_drawn(toy_model, HERE, prompts, samples)
    assert {one.ids_from for of_prompt in samples for one in of_prompt} == {"engine"}
    bodies = real_requests(standin)
    assert [body["n"] for body in bodies] == [3] * 5
    assert sorted(body["prompt"] for body in bodies) == sorted(list(one.prompt_ids) for one in prompts)


async def test_vllms_samples_have_the_seeds_that_it_counts_up_to(servers, toy_model, prompts):
    standin = await servers.start(VllmStandIn(toy_model, HERE))
    samples = await sample(servers.engine(), prompts)
    first = {tuple(body["prompt"]): body["seed"] for body in real_requests(standin)}
    for prompt, of_prompt in zip(prompts, samples, strict=True):
        seed = first[prompt.prompt_ids]
        assert [one.seed for one in of_prompt] == [seed, seed + 1, seed + 2]


async def test_seeds_of_64_bits_are_made_to_fit(servers, toy_model, prompts):
    from dataclasses import replace

    await servers.start(VllmStandIn(toy_model, HERE))
    wide = [replace(prompts[0], seeds=(2**64 - 1, 2**63, 5))]
    [samples] = await sample(servers.engine(), wide)
    assert all(0 <= one.seed < 2**63 for one in samples)
    assert len({one.seed for one in samples}) == 3


async def test_log_probabilities_come_when_they_are_asked_for(servers, toy_model, prompts):
    await servers.start(VllmStandIn(toy_model, HERE))
    greedy = SamplingParameters(0.0, 1.0, 6, logprobs=True)
    [[one, *_], *_] = await sample(servers.engine(), prompts, greedy)
    drawn = toy_model.draw(HERE, prompts[0].prompt_ids, seed=None, limit=6)
    assert (one.response_ids, one.logprobs) == (drawn.ids, pytest.approx(drawn.logprobs))


async def test_the_turns_end_is_told_to_servers_that_take_it(servers, toy_model, tokenizer, prompts):
    standin = await servers.start(VllmStandIn(toy_model, HERE))
    await sample(servers.engine(), prompts[:1])
    assert real_requests(standin)[0]["stop_token_ids"] == sorted(tokenizer.end_of_turn_ids)


@pytest.mark.parametrize(
    ("settings", "served"),
    [
        ({"dev_mode": False}, POLICY),
        ({"version": "default"}, POLICY),
        ({"version": OTHER}, OTHER),
        ({"version": "moving"}, ""),
    ],
)
async def test_vllms_label_says_which_weights_it_has_since_they_were_moved(
    servers, toy_model, settings, served
):
    await servers.start(VllmStandIn(toy_model, HERE, **settings))
    identity = await servers.engine(weights="").identity()
    assert (identity.weights_digest, identity.engine) == (served, "vllm/0.33.0")
    assert identity.max_context_tokens == 2048


async def test_vllm_is_moved_to_other_weights_in_place(servers, toy_model, prompts):
    standin = await servers.start(VllmStandIn(toy_model, HERE))
    fleet = servers.fleet()
    engine = servers.engine()
    await sample(engine, prompts)
    standin.calls.clear()
    [server] = await fleet.servers()
    await server.load(THERE, OTHER)
    assert [route for route in standin.calls if route not in ("/v1/models", "/version")] == [
        "/weight_info",
        "/pause",
        "/update_weight_version",
        "/collective_rpc",
        "/reset_prefix_cache",
        "/update_weight_version",
        "/resume",
        "/weight_info",
    ]
    moved = servers.engine(OTHER)
    assert all_drawn(toy_model, THERE, prompts, await sample(moved, prompts, weights=OTHER))
    with pytest.raises(FailedPrecondition) as caught:
        await sample(servers.engine(), prompts)
    assert caught.value.reason == "WeightsMismatch"


@pytest.mark.parametrize("route", ["/collective_rpc", "/reset_prefix_cache"])
async def test_a_hand_over_that_fails_leaves_nobody_to_sample_from_until_it_is_done_again(
    servers, toy_model, prompts, route
):
    standin = await servers.start(VllmStandIn(toy_model, HERE, fails_at=route))
    [server] = await servers.fleet().servers()
    with pytest.raises(EngineFault):
        await server.load(THERE, OTHER)
    assert standin.paused
    for weights in (POLICY, OTHER):
        with pytest.raises(FailedPrecondition, match="does not name by a digest"):
            await servers.engine(weights).identity()
    standin.fails_at = ""
    await server.load(THERE, OTHER)
    assert all_drawn(toy_model, THERE, prompts, await sample(servers.engine(OTHER), prompts, weights=OTHER))


async def test_vllm_that_was_not_told_that_it_may_is_started_anew_instead(servers, toy_model):
    await servers.start(VllmStandIn(toy_model, HERE, dev_mode=False))
    [server] = await servers.fleet().servers()
    with pytest.raises(FailedPrecondition, match="VLLM_SERVER_DEV_MODE=1") as caught:
        await server.load(THERE, OTHER)
    assert caught.value.reason == "CannotReload"


async def test_answers_that_name_other_weights_are_not_counted(servers, toy_model, prompts):
    replicas = [await servers.start(VllmStandIn(toy_model, HERE, version=POLICY)) for _ in range(2)]
    engine = servers.engine()
    await sample(engine, prompts)
    # Which replica a prompt prefers depends on its port, and one of the two may be preferred by none.
    turncoat, steady = sorted(replicas, key=lambda replica: not real_requests(replica))
    turncoat.label_in_answers = OTHER
    turncoat.asked.clear()
    steady.asked.clear()
    assert all_drawn(toy_model, HERE, prompts, await sample(engine, prompts))
    assert turncoat.asked
    assert len(real_requests(steady)) == 5


async def test_each_policy_may_be_an_adapter_of_its_own_name(servers, toy_model, prompts):
    standin = await servers.start(VllmStandIn(toy_model, "/weights/base", dev_mode=False))
    json = await servers.json()
    for _ in range(2):
        await load_adapter(json, POLICY, HERE)
    samples = await sample(servers.engine(model="{digest}"), prompts)
    assert all_drawn(toy_model, HERE, prompts, samples)
    assert {body["model"] for body in standin.asked} == {POLICY}
    await unload_adapter(json, POLICY)
    with pytest.raises(SelfieError, match="does not exist"):
        await sample(servers.engine(model="{digest}"), prompts)


async def test_sglang_is_asked_for_one_sample_at_a_time_because_those_of_a_request_share_a_seed(
    servers, toy_model, prompts
):
    standin = await servers.start(SglangStandIn(toy_model, HERE))
    samples = await sample(servers.engine(), prompts)
    assert all_drawn(toy_model, HERE, prompts, samples)
    assert [[one.seed for one in of_prompt] for of_prompt in samples] == [list(one.seeds) for one in prompts]
    assert all("n" not in body for body in real_requests(standin))
    assert len(real_requests(standin)) == 15


async def test_sglang_is_moved_to_other_weights_in_place(servers, toy_model, prompts):
    await servers.start(SglangStandIn(toy_model, HERE))
    await sample(servers.engine(), prompts)
    [server] = await servers.fleet().servers()
    await server.load(THERE, OTHER)
    assert all_drawn(toy_model, THERE, prompts, await sample(servers.engine(OTHER), prompts, weights=OTHER))


async def test_a_reload_that_sglang_refuses_leaves_it_without_a_name(servers, toy_model):
    await servers.start(SglangStandIn(toy_model, HERE, fails=True))
    [server] = await servers.fleet().servers()
    with pytest.raises(EngineFault, match="Failed to get weights iterator"):
        await server.load(THERE, OTHER)
    assert (await servers.engine(weights="").identity()).weights_digest == ""


@pytest.mark.parametrize("kind", [VllmStandIn, SglangStandIn])
async def test_an_engine_that_is_still_to_be_brought_to_its_weights_is_waited_for(servers, toy_model, kind):
    await servers.start(kind(toy_model, "/weights/selfie-current"))
    engine = servers.engine()
    with pytest.raises(Unavailable, match="being moved to its weights"):
        await engine.identity()
    [server] = await servers.fleet().servers()
    await server.load(HERE, POLICY)
    assert (await engine.identity()).weights_digest == POLICY


async def test_samples_that_a_restarted_engine_owes_are_drawn_once_it_has_been_moved(
    servers, toy_model, prompts
):
    await servers.start(VllmStandIn(toy_model, "/weights/selfie-current"))
    [server] = await servers.fleet().servers()
    drawing = asyncio.create_task(sample(servers.engine(), prompts))
    await asyncio.sleep(0.1)
    assert not drawing.done()
    await server.load(HERE, POLICY)
    assert all_drawn(toy_model, HERE, prompts, await drawing)


async def test_sglang_that_somebody_else_has_moved_is_not_believed(servers, toy_model):
    await servers.start(SglangStandIn(toy_model, THERE, version=POLICY))
    with pytest.raises(FailedPrecondition) as caught:
        await servers.engine().identity()
    assert caught.value.reason == "WeightsMismatch"


async def test_a_plain_server_gives_text_whose_ids_are_made_again(servers, toy_model, tokenizer, prompts):
    standin = await servers.start(TransformersStandIn(toy_model, ""))
    samples = await sample(servers.engine(model="/weights/{digest}"), prompts)
    for prompt, of_prompt in zip(prompts, samples, strict=True):
        for seed, one in zip(prompt.seeds, of_prompt, strict=True):
            drawn = toy_model.draw(HERE, prompt.prompt_ids, seed=seed, limit=12)
            assert one.text == toy_model.decode(drawn.ids)
            assert one.ids_from == "retokenized"
            assert tokenizer.is_finished(one.response_ids) == (one.finish_reason == "stop")
            assert one.response_ids in (
                tokenizer.response_ids(one.text),
                tokenizer.response_ids(one.text)[:-1],
            )
    assert {body["model"] for body in standin.asked} == {HERE}
    assert len({one.text for of_prompt in samples for one in of_prompt}) > 5


async def test_transformers_is_told_to_sample_because_a_temperature_does_not_make_it(
    servers, toy_model, prompts
):
    standin = await servers.start(TransformersStandIn(toy_model, ""))
    engine = servers.engine(model="/weights/{digest}")
    await sample(engine, prompts[:1])
    await sample(engine, prompts[:1], SamplingParameters(0.0, 1.0, 12))
    configs = [body["generation_config"] for body in real_requests(standin)]
    assert ['"do_sample": true' in config for config in configs] == [True] * 3 + [False] * 3


async def test_a_server_that_counts_another_number_of_prompt_tokens_is_refused(
    servers, tiny_checkpoint, prompts
):
    other = ToyModel(tiny_checkpoint)
    other.tokenizer.add_tokens(["What is"])
    await servers.start(TransformersStandIn(other, ""))
    with pytest.raises(FailedPrecondition) as caught:
        await sample(servers.engine(model="/weights/{digest}"), prompts[:1])
    assert caught.value.reason == "PromptIdsDiffer"


async def test_llama_cpp_serves_the_weights_that_it_is_called_by_and_no_others(servers, toy_model, prompts):
    standin = await servers.start(LlamaCppStandIn(toy_model, HERE, alias=POLICY))
    samples = await sample(servers.engine(), prompts[:2])
    assert {one.ids_from for of_prompt in samples for one in of_prompt} == {"retokenized"}
    [body, *_] = real_requests(standin)
    assert isinstance(body["prompt"], list)
    assert (body["top_k"], body["min_p"], body["top_p"]) == (0, 0.0, 1.0)
    with pytest.raises(FailedPrecondition) as caught:
        await servers.engine(OTHER).identity()
    assert caught.value.reason == "WeightsMismatch"


async def test_a_server_that_answers_to_any_name_is_not_asked_for_weights_by_name(servers, toy_model):
    await servers.start(LlamaCppStandIn(toy_model, HERE))
    with pytest.raises(FailedPrecondition) as caught:
        await servers.engine(model="{digest}").identity()
    assert caught.value.reason == "WeightsUnproven"


async def test_log_probabilities_that_are_wanted_and_not_told_are_missed_aloud(servers, toy_model, prompts):
    await servers.start(LlamaCppStandIn(toy_model, HERE, alias=POLICY))
    with pytest.raises(InvalidInput, match="tells no log-probabilities"):
        await sample(servers.engine(), prompts[:1], SamplingParameters(0.0, 1.0, 12, logprobs=True))


async def test_a_server_with_several_models_needs_to_be_told_which(servers, toy_model):
    await servers.start(VllmStandIn(toy_model, HERE))

    class Two(LlamaCppStandIn):
        def cards(self):
            return [{"id": name, "owned_by": "llamacpp"} for name in (POLICY, OTHER)]

    servers.running.clear()
    await servers.start(Two(toy_model, HERE))
    with pytest.raises(FailedPrecondition, match="give its name by --engine-model"):
        await servers.engine().identity()
    assert (await servers.engine(model=POLICY).identity()).weights_digest == POLICY
