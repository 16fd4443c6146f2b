"""An engine that somebody else has started, as a local run sees it."""

import asyncio
from pathlib import Path

import pytest

from http_servers import serving
from openai_servers import TransformersStandIn
from selfie.errors import InvalidInput
from selfie.local.external import EngineChoice, ExternalEngine, engine_choice
from selfie.runs.load import parse_run
from selfie.runs.observed import ServiceObserved
from sglang_server import SglangStandIn
from tgi_server import TgiStandIn
from toy_models import ToyModel, digest_of

FIRST, SECOND = digest_of("round 0"), digest_of("round 1")
WEIGHTS = Path("/cache/weights")
READY = ServiceObserved(ready=True, digests={"policy": SECOND})


@pytest.fixture(scope="module")
def model(tiny_checkpoint) -> ToyModel:
    return ToyModel(tiny_checkpoint)


def spec_with(engine: str):
    return parse_run(
        f"""
apiVersion: selfie.dev/v1alpha1
kind: SelfieRun
metadata: {{name: a}}
spec:
  model: {{uri: builtin://toy}}
  seed: {{dataset: seed.jsonl}}
  rounds: [{{prompts: {{dataset: prompts.jsonl}}}}]
  generation: {{engine: {engine}}}
"""
    ).spec


async def seen(engine: ExternalEngine, *, ready: bool) -> ServiceObserved:
    async with asyncio.timeout(20):
        while (found := await engine.observed()) is None or found.ready != ready:
            await asyncio.sleep(0.05)
    return found


async def test_nothing_is_seen_of_it_while_nothing_is_wanted(model):
    standin = TgiStandIn(model, f"/weights/{FIRST}")
    async with serving(standin.application) as server:
        engine = ExternalEngine(EngineChoice("tgi", server.url), WEIGHTS)
        assert await engine.observed() is None
        engine.want(WEIGHTS / FIRST, FIRST)
        assert (await seen(engine, ready=True)).digests == {"policy": FIRST}
        engine.release()
        assert await engine.observed() is None
        await engine.close()


async def test_one_that_cannot_be_moved_is_waited_for_with_word_of_what_it_must_serve(model):
    standin = TgiStandIn(model, f"/weights/{FIRST}")
    async with serving(standin.application) as server:
        engine = ExternalEngine(EngineChoice("tgi", server.url), WEIGHTS)
        engine.want(WEIGHTS / SECOND, SECOND)
        await engine.observed()
        await asyncio.sleep(0.2)
        assert f"start it anew with {WEIGHTS / SECOND}" in (await seen(engine, ready=False)).message
        standin.model_id = f"/elsewhere/{SECOND}"
        assert await seen(engine, ready=True) == READY
        await engine.close()


async def test_one_that_can_be_moved_is(model):
    standin = SglangStandIn(model, f"/weights/{FIRST}")
    async with serving(standin.application) as server:
        engine = ExternalEngine(EngineChoice("openai", server.url), WEIGHTS)
        engine.want(WEIGHTS / SECOND, SECOND)
        assert await seen(engine, ready=True) == READY
        assert standin.path == str(WEIGHTS / SECOND)
        await engine.close()


async def test_one_that_loads_what_it_is_asked_for_has_everything(model):
    standin = TransformersStandIn(model, "")
    async with serving(standin.application) as server:
        choice = EngineChoice("openai", server.url, model="{weights}")
        engine = ExternalEngine(choice, WEIGHTS)
        engine.want(WEIGHTS / SECOND, SECOND)
        assert await seen(engine, ready=True) == READY
        assert engine.flags == (
            "--engine", "openai", "--engine-address", server.url, "--engine-model", f"{WEIGHTS}/{{digest}}"
        )  # fmt: skip
        await engine.close()


async def test_one_that_is_not_there_is_waited_for():
    engine = ExternalEngine(EngineChoice("tgi", "http://127.0.0.1:9"), WEIGHTS)
    engine.want(WEIGHTS / FIRST, FIRST)
    assert "ConnectError" in (await seen(engine, ready=False)).message
    await engine.close()


def test_our_own_engine_needs_no_address():
    assert engine_choice(spec_with("embedded"), None) is None


def test_another_engine_needs_an_address_and_our_own_takes_none():
    with pytest.raises(InvalidInput, match="give the server's address"):
        engine_choice(spec_with("tgi"), None)
    with pytest.raises(InvalidInput, match="engine: tgi or openai"):
        engine_choice(spec_with("embedded"), "http://here")
    assert engine_choice(spec_with("tgi"), "http://here") == EngineChoice("tgi", "http://here")
