"""An engine is brought to the weights that its pod's note asks for, whatever happens on the way."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from http_servers import HttpServer, serving
from openai_servers import LlamaCppStandIn, StandIn
from selfie.artifacts.manifests import Manifest, publish
from selfie.artifacts.store import Store, open_store
from selfie.artifacts.weights import add_directory, weights_digest
from selfie.dispatch.services import engine_digest
from selfie.errors import DataCorrupted, FailedPrecondition, InvalidInput
from selfie.generation.engines import EngineFault
from selfie.generation.fleet.discovery import Discovery
from selfie.generation.following.follower import Follower
from selfie.generation.following.servicer import SERVICE_NAME, following_service
from selfie.generation.following.wanted import read_wanted
from selfie.generation.http.clients import Access
from selfie.generation.openai.server import OpenAIServer
from selfie.rpc.channels import connect, is_ready
from selfie.rpc.server import RunningServer
from selfie.rpc.settings import ServerSettings
from selfie.runs.names import CURRENT_WEIGHTS
from sglang_server import SglangStandIn
from toy_models import ToyModel
from vllm_server import VllmStandIn

MOMENT = datetime(2026, 3, 1, tzinfo=UTC)


class Pod:
    """What follower and engine share: the folder of weights, and the note of what is wanted."""

    def __init__(self, root: Path, store: Store) -> None:
        self.folder, self.note = root / "weights", root / "note"
        self.folder.mkdir()
        self.store = store

    def wants(self, step: str, digest: str) -> None:
        self.note.write_text(json.dumps({"step": step, "group": "checkpoint", "digest": digest}))

    @property
    def follower(self) -> Follower:
        return Follower(self.store, self.folder, partial(read_wanted, self.note))

    @property
    def weights(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "run").as_uri())


@pytest.fixture
def pod(tmp_path: Path, store: Store) -> Pod:
    return Pod(tmp_path, store)


@pytest.fixture
def published(tmp_path: Path, store: Store) -> Callable[[str], str]:
    """Publishes a checkpoint of a round's, and gives its digest."""

    def make(step: str) -> str:
        directory = tmp_path / step.replace("/", "-")
        directory.mkdir()
        (directory / "model.safetensors").write_text(f"the numbers of {step}")
        files = add_directory(store, directory, group="checkpoint", path=f"{step}/a1/checkpoint")
        publish(
            store,
            Manifest(
                run_uid="run",
                round=1,
                step=step,
                attempt=1,
                writer="test",
                files=files,
                started_at=MOMENT,
                finished_at=MOMENT,
            ),
        )
        return weights_digest(files)

    return make


@asynccontextmanager
async def beside(standin: StandIn) -> AsyncIterator[tuple[OpenAIServer, HttpServer]]:
    async with serving(standin.application) as running:
        [address] = await Discovery(running.url).addresses()
        server = OpenAIServer(address, Access(timeout_s=10))
        try:
            yield server, running
        finally:
            await server.close()


def vllm(model: ToyModel, pod: Pod) -> VllmStandIn:
    return VllmStandIn(model, str(pod.folder / CURRENT_WEIGHTS))


def sglang(model: ToyModel, pod: Pod) -> SglangStandIn:
    return SglangStandIn(model, str(pod.folder / CURRENT_WEIGHTS))


@pytest.mark.parametrize("kind", [vllm, sglang])
async def test_it_goes_from_round_to_round_and_keeps_one_rounds_weights(pod, published, toy_model, kind):
    first, second = published("rounds/00/publish"), published("rounds/01/publish")
    async with beside(kind(toy_model, pod)) as (server, _):
        for step, digest in (("rounds/00/publish", first), ("rounds/01/publish", second)):
            pod.wants(step, digest)
            assert await pod.follower.bring(server)
            assert (await server.look()).identity.weights_digest == digest
            assert pod.weights == {digest, CURRENT_WEIGHTS}
            assert (
                pod.folder / CURRENT_WEIGHTS / "model.safetensors"
            ).read_text() == f"the numbers of {step}"


async def test_an_engine_that_has_what_is_wanted_is_left_alone(pod, published, toy_model):
    pod.wants("rounds/00/publish", published("rounds/00/publish"))
    standin = vllm(toy_model, pod)
    async with beside(standin) as (server, _):
        await pod.follower.bring(server)
        moved = standin.calls.count("/collective_rpc")
        await pod.follower.bring(server)
    assert standin.calls.count("/collective_rpc") == moved == 1


async def test_an_engine_that_was_started_again_is_brought_to_them_once_more(pod, published, toy_model):
    digest = published("rounds/00/publish")
    pod.wants("rounds/00/publish", digest)
    async with beside(vllm(toy_model, pod)) as (server, running):
        await pod.follower.bring(server)
        await running.restart(vllm(toy_model, pod).application)
        assert (await server.look()).identity.weights_digest == ""
        assert await pod.follower.bring(server)
        assert (await server.look()).identity.weights_digest == digest


async def test_without_a_note_nothing_is_fetched_and_nobody_is_moved(pod, toy_model):
    standin = vllm(toy_model, pod)
    async with beside(standin) as (server, _):
        assert not await pod.follower.bring(server)
    pod.note.write_text("")
    assert await pod.follower.fetch() is None
    assert standin.calls == []
    assert pod.weights == set()


async def test_a_move_that_fails_half_way_leaves_weights_that_nobody_takes_for_any(pod, published, toy_model):
    pod.wants("rounds/00/publish", published("rounds/00/publish"))
    standin = vllm(toy_model, pod)
    standin.fails_at = "/collective_rpc"
    async with beside(standin) as (server, _):
        with pytest.raises(EngineFault):
            await pod.follower.bring(server)
        assert (await server.look()).identity.weights_digest == ""
        standin.fails_at = ""
        assert await pod.follower.bring(server)


async def test_an_engine_that_cannot_be_moved_is_told_as_such(pod, published, toy_model):
    pod.wants("rounds/00/publish", published("rounds/00/publish"))
    async with beside(LlamaCppStandIn(toy_model, str(pod.folder / CURRENT_WEIGHTS))) as (server, _):
        with pytest.raises(FailedPrecondition) as caught:
            await pod.follower.bring(server)
    assert caught.value.reason == "CannotReload"


async def test_other_weights_than_those_of_the_note_are_not_taken(pod, published):
    published("rounds/00/publish")
    pod.wants("rounds/00/publish", "f" * 64)
    with pytest.raises(FailedPrecondition) as caught:
        await pod.follower.fetch()
    assert caught.value.reason == "WeightsDiffer"
    assert pod.weights == set()


async def test_altered_weights_are_not_taken(pod, published, store):
    pod.wants("rounds/00/publish", published("rounds/00/publish"))
    file = store.local_path("rounds/00/publish/a1/checkpoint/model.safetensors")
    assert file is not None
    file.chmod(0o644)
    file.write_text("other numbers, as many")
    with pytest.raises(DataCorrupted, match=r"model\.safetensors"):
        await pod.follower.fetch()
    assert pod.weights == set()


@pytest.mark.parametrize("note", ["nonsense", "[]", '{"step": "../x", "group": "a", "digest": "b"}'])
def test_a_note_that_names_no_weights_is_refused(pod, note):
    pod.note.write_text(note)
    with pytest.raises(InvalidInput, match=r"selfie\.dev/policy"):
        read_wanted(pod.note)


async def test_the_operator_is_told_which_weights_there_are_and_when(pod, published, toy_model):
    first, second = published("rounds/00/publish"), published("rounds/01/publish")
    standin = vllm(toy_model, pod)
    async with beside(standin) as (server, _):
        service = RunningServer(ServerSettings(), following_service(pod.follower, server, look_s=0.05))
        pod.wants("rounds/00/publish", first)
        await service.start()
        channel = connect(f"127.0.0.1:{service.port}")
        try:
            assert await is_ready(channel, SERVICE_NAME)
            assert await engine_digest(channel) == first
            pod.wants("rounds/01/publish", second)
            async with asyncio.timeout(20):
                while await engine_digest(channel) != second:
                    await asyncio.sleep(0.05)
            assert standin.loaded.endswith(second)
        finally:
            await channel.close()
            await service.stop()
