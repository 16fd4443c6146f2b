"""llama.cpp's server, the real one: it can be sampled from, and has no weights but those of its start."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from real_servers import engine_through, serving
from selfie.artifacts.weights import directory_digest
from selfie.errors import FailedPrecondition
from selfie.generation.engines import SamplingParameters, SeededPrompt
from selfie.generation.fleet.engine import FleetEngine
from selfie.models.chat import ChatTokenizer
from selfie.models.embedded import convert_gguf, embedded_source

SERVER = Path(__file__).resolve().parents[2] / ".cache/llama.cpp/llama-server"
ROUND_ONE = "f" * 64
QUESTIONS = ("What is the sea? Answer in a few words.", "Name seven boats.")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

if not SERVER.exists():
    pytest.skip(f"{SERVER} is not there: make test-engines builds it", allow_module_level=True)


@dataclass(frozen=True)
class Model:
    """The embedded model, as llama.cpp and as everybody else reads it."""

    gguf: Path
    digest: str
    tokenizer: ChatTokenizer


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    gguf = embedded_source("smollm2-135m-instruct")
    checkpoint = tmp_path_factory.mktemp("model")
    convert_gguf(gguf, checkpoint)
    return Model(gguf, directory_digest(checkpoint), ChatTokenizer(checkpoint))


@pytest.fixture(scope="module")
def server(model: Model) -> Iterator[str]:
    """Its address; it calls its model by the digest of the checkpoint."""
    # On weights repacked for AMX this version ends with a fault (general protection) as it warms up.
    options = ("--alias", model.digest, "--ctx-size", "1024", "--threads", "1", "--no-repack")
    with serving(lambda port: [str(SERVER), "-m", str(model.gguf), *options, "--port", str(port)]) as address:
        yield address


@pytest.fixture
async def engine(server: str, model: Model) -> AsyncIterator[FleetEngine]:
    fleet, engine = engine_through(server, model.digest, model.tokenizer)
    yield engine
    await fleet.close()


@pytest.fixture
def prompts(model: Model) -> list[SeededPrompt]:
    chats = [[{"role": "user", "content": text}] for text in QUESTIONS]
    return [SeededPrompt(model.tokenizer.prompt_ids(chat).ids, (1, 2, 3)) for chat in chats]


async def test_it_says_who_it_is_and_what_it_has(engine: FleetEngine, model: Model):
    identity = await engine.identity()
    assert (identity.weights_digest, identity.engine) == (model.digest, "llama.cpp")


async def test_every_sample_is_drawn_and_a_seed_draws_the_same_again(
    engine: FleetEngine, model: Model, prompts: list[SeededPrompt]
):
    parameters = SamplingParameters(1.0, 1.0, 16)
    drawn = [await engine.sample(prompts, parameters, weights_digest=model.digest) for _ in range(2)]
    texts = [[[one.text for one in of_prompt] for of_prompt in once] for once in drawn]
    assert [len(of_prompt) for of_prompt in texts[0]] == [3, 3]
    assert len({text for of_prompt in texts[0] for text in of_prompt}) > 3
    assert texts[0] == texts[1]


async def test_greedy_answers_are_one_answer_and_end_with_their_turn(
    engine: FleetEngine, model: Model, prompts: list[SeededPrompt]
):
    greedy = SamplingParameters(0.0, 1.0, 128)
    [of_first, _] = await engine.sample(prompts, greedy, weights_digest=model.digest)
    assert len({one.response_ids for one in of_first}) == 1
    assert of_first[0].finish_reason == "stop"
    assert of_first[0].response_ids[-1] == model.tokenizer.end_of_turn_id


async def test_the_policy_of_a_later_round_is_refused_before_a_sample_is_drawn(
    server: str, model: Model, prompts: list[SeededPrompt]
):
    fleet, engine = engine_through(server, ROUND_ONE, model.tokenizer)
    try:
        with pytest.raises(FailedPrecondition) as caught:
            await engine.sample(prompts, SamplingParameters(1.0, 1.0, 4), weights_digest=ROUND_ONE)
        assert caught.value.reason == "WeightsMismatch"
        with pytest.raises(FailedPrecondition):
            await engine.identity()
    finally:
        await fleet.close()
