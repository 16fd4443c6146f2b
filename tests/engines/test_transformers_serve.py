"""`transformers serve`, the real one, as a plain server that speaks OpenAI's completions."""

from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from external_runs import run, write_run
from real_servers import engine_through, serving
from selfie.artifacts.manifests import read_manifest
from selfie.artifacts.shards import read_group
from selfie.artifacts.store import open_store
from selfie.artifacts.weights import directory_digest
from selfie.generation.engines import SamplingParameters, SeededPrompt
from selfie.models.chat import ChatTokenizer

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".cache" / "engines" / "bin" / "python"

if not PYTHON.exists():
    pytest.skip(f"{PYTHON} is not there: make test-engines makes it", allow_module_level=True)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """Its address."""
    start = "from transformers.cli.transformers import main; main()"
    place = ("--host", "127.0.0.1", "--device", "cpu", "--port")
    with serving(lambda port: [str(PYTHON), "-c", start, "serve", *place, str(port)]) as address:
        yield address


@pytest.mark.timeout(600)
async def test_it_samples_from_the_weights_that_are_asked_for_by_name(server, tiny_checkpoint, tmp_path):
    digest = directory_digest(tiny_checkpoint)
    (tmp_path / digest).symlink_to(tiny_checkpoint)
    tokenizer = ChatTokenizer(tiny_checkpoint)
    chats = [[{"role": "user", "content": text}] for text in ("What is the sea?", "Seven boats?")]
    prompts = [SeededPrompt(tokenizer.prompt_ids(chat).ids, (1, 2, 3)) for chat in chats]
    fleet, engine = engine_through(server, digest, tokenizer, model=f"{tmp_path}/{{digest}}")
    async with AsyncExitStack() as stack:
        stack.push_async_callback(fleet.close)
        await sample_through(engine, digest, prompts)


async def sample_through(engine, digest, prompts):
    identity = await engine.identity()
    assert (identity.weights_digest, identity.engine) == (digest, "transformers")
    drawn = await engine.sample(prompts, SamplingParameters(1.0, 1.0, 12), weights_digest=digest)
    samples = [one for of_prompt in drawn for one in of_prompt]
    assert {one.ids_from for one in samples} == {"retokenized"}
    assert len({one.text for one in samples}) > 3
    greedy = SamplingParameters(0.0, 1.0, 12)
    [[first, *others], _] = await engine.sample(prompts, greedy, weights_digest=digest)
    assert {one.text for one in others} == {first.text}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_whole_run_goes_through_it(server, tiny_checkpoint, tmp_path):
    artifacts = tmp_path / "runs"
    options = ("--engine-address", server, "--engine-model", "{weights}")
    done = run(write_run(tmp_path, tiny_checkpoint), artifacts, *options)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    store = open_store((artifacts / "whole").as_uri())
    policy = read_manifest(store, "rounds/00/publish").weights_digest
    rows = read_group(store, read_manifest(store, "rounds/01/generate"), "samples").to_pylist()
    assert {row["policy_digest"] for row in rows} == {policy}
    assert {row["ids_from"] for row in rows} == {"retokenized"}
    assert read_manifest(store, "rounds/01/generate").counts["retokenized"] == 6
