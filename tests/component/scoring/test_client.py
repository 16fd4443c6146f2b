"""The Python client against real servers: answers, patience, identity, and what it does not import."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from certificates import Authority, Files
from selfie.artifacts.store import open_store
from selfie.client import AsyncScorer, Scorer, Tls
from selfie.errors import InvalidInput, Overloaded, SelfieError, Unauthenticated, Unavailable
from selfie.rpc.replicas import Replica
from selfie.rpc.server import RunningServer, Service
from selfie.rpc.settings import ServerSettings
from selfie.scoring.core import Scorer as Core
from selfie.scoring.questions import Options, Prompt, Response
from selfie.scoring.servicer import SERVICE_NAME, scoring_service
from selfie.v1 import scoring_pb2, scoring_pb2_grpc

QUESTION, GOOD, BAD = "What is the capital of France?", "Paris.", "The sea is wide."


@pytest.fixture
async def serve() -> AsyncIterator[Any]:
    started: list[RunningServer] = []

    async def serving(service: Service, **settings: Any) -> str:
        server = RunningServer(ServerSettings(drain_seconds=0, **settings), service)
        await server.start()
        started.append(server)
        return f"127.0.0.1:{server.port}"

    yield serving
    for server in started:
        await server.stop()


@pytest.fixture
def service(scorer: Core) -> Service:
    return scoring_service(lambda: scorer, replica=Replica(owner="t", open_store=open_store))


class Moody(scoring_pb2_grpc.ScoringServiceServicer):
    """Answers with what it is told to, in this order, and then with a tie."""

    def __init__(self, *moods: SelfieError | float) -> None:
        self.moods = list(moods)
        self.calls = 0

    async def Compare(self, request: Any, context: Any) -> scoring_pb2.CompareResponse:
        self.calls += 1
        mood = self.moods.pop(0) if self.moods else 0.0
        if isinstance(mood, SelfieError):
            raise mood
        await asyncio.sleep(mood)
        return scoring_pb2.CompareResponse(preference=scoring_pb2.PREFERENCE_TIE)

    @property
    def service(self) -> Service:
        def register(server: grpc.aio.Server) -> None:
            scoring_pb2_grpc.add_ScoringServiceServicer_to_server(self, server)

        return Service(names=(SERVICE_NAME,), register=register)


def by_thread(address: str, **settings: Any) -> Callable[..., Any]:
    async def compare(*given: Any, **options: Any) -> Any:
        with Scorer(address, **settings) as made:
            return await asyncio.to_thread(made.compare, *given, **options)

    return compare


def by_task(address: str, **settings: Any) -> Callable[..., Any]:
    async def compare(*given: Any, **options: Any) -> Any:
        async with AsyncScorer(address, **settings) as made:
            return await made.compare(*given, **options)

    return compare


WAYS = pytest.mark.parametrize("way", [by_thread, by_task])


@WAYS
async def test_a_comparison_is_the_scorers_own(serve, service: Service, scorer: Core, way):
    found = await way(await serve(service))(QUESTION, GOOD, BAD, lambdas=[0.5], per_token=True)
    options = Options(lambdas=(0.5,))
    expected = scorer.compare(Prompt(text=QUESTION), Response(text=GOOD), Response(text=BAD), options)
    assert found.preferred == ("first" if expected.margin > 0 else "second")
    assert found.margin == pytest.approx(expected.margin, abs=expected.tie_band)
    assert found.provenance.policy_digest == scorer.provenance.policy_digest
    assert found.calibrated_probability is None
    assert len(found.first.policy_token_logprobs) == found.first.tokens
    assert found.first.extrapolated[0].lam == 0.5
    assert found.first.end_of_turn_scored


async def test_scores_and_rankings_come_as_values(serve, service: Service):
    async with AsyncScorer(await serve(service)) as made:
        scores = await made.score(QUESTION, GOOD, BAD)
        ranking = await made.rank(QUESTION, GOOD, BAD, GOOD)
    assert [score.tokens > 0 for score in scores.responses] == [True, True]
    assert sorted(ranked.index for ranked in ranking.responses) == [0, 1, 2]
    by_index = {ranked.index: ranked.score for ranked in ranking.responses}
    assert [by_index[0], by_index[1]] == list(scores.responses)


@WAYS
async def test_a_refusal_for_overload_is_waited_out(serve, way):
    moody = Moody(Overloaded("full", retry_after_s=0.05), Unavailable("restarting"))
    found = await way(await serve(moody.service))(QUESTION, GOOD, BAD)
    assert (found.preferred, moody.calls) == ("tie", 3)


@WAYS
async def test_the_callers_mistake_is_told_at_once_and_by_field(serve, way):
    moody = Moody(InvalidInput("options.beta", "is bad", "mend it"))
    with pytest.raises(InvalidInput) as caught:
        await way(await serve(moody.service))(QUESTION, GOOD, BAD)
    assert (caught.value.field, moody.calls) == ("options.beta", 1)


@WAYS
async def test_a_message_that_is_too_long_is_the_callers_mistake_and_sent_once(serve, way):
    moody = Moody()
    with pytest.raises(InvalidInput, match="--max-message-bytes") as caught:
        await way(await serve(moody.service, max_message_bytes=1024), retries=99)(QUESTION, GOOD, 1000 * BAD)
    assert (caught.value.field, moody.calls) == ("request", 0)


@WAYS
async def test_a_call_ends_with_its_time_however_slow_the_service(serve, way):
    moody = Moody(60.0)
    asked = way(await serve(moody.service), timeout_s=0.5)(QUESTION, GOOD, BAD)
    with pytest.raises(Unavailable):
        await asyncio.wait_for(asked, 20)
    assert moody.calls == 1


@WAYS
async def test_where_nobody_listens_it_is_said_after_some_attempts(unused_tcp_port: int, way):
    with pytest.raises(Unavailable):
        await way(f"127.0.0.1:{unused_tcp_port}", retries=1)(QUESTION, GOOD, BAD)


@WAYS
async def test_a_token_is_shown_and_one_in_a_file_is_read_for_each_call(
    serve, service: Service, tmp_path: Path, way
):
    tokens, file = tmp_path / "tokens", tmp_path / "token"
    tokens.mkdir()
    (tokens / "ada").write_text("secret")
    file.write_text("old")
    address = await serve(service, api_tokens=tokens)
    with pytest.raises(Unauthenticated):
        await way(address)(QUESTION, GOOD, BAD)
    with pytest.raises(Unauthenticated):
        await way(address, token=file)(QUESTION, GOOD, BAD)
    file.write_text("secret\n")
    assert (await way(address, token=file)(QUESTION, GOOD, BAD)).first.tokens > 0
    assert (await way(address, token="secret")(QUESTION, GOOD, BAD)).first.tokens > 0


async def test_certificates_that_are_renewed_on_both_sides_are_used_from_the_next_call_on(
    serve, service: Service, tmp_path: Path
):
    theirs, ours = (Files(tmp_path / name) for name in ("theirs", "ours"))
    for directory in ("theirs", "ours"):
        (tmp_path / directory).mkdir()

    def renew(name: str) -> None:
        authority = Authority(name)
        theirs.write(authority.signed("scorer"))
        theirs.trust(authority)
        ours.write(authority.signed("ada"))
        ours.trust(authority)

    renew("first")
    address = await serve(
        service,
        tls_certificate=theirs.certificate,
        tls_key=theirs.key,
        tls_client_authorities=theirs.authorities,
    )
    tls = Tls(ours.authorities, ours.certificate, ours.key)
    with Scorer(address, tls=tls) as made:
        async with AsyncScorer(address, tls=tls) as also:
            for name in ("second", "third", "fourth"):
                assert (await asyncio.to_thread(made.compare, QUESTION, GOOD, BAD)).first.tokens > 0
                assert (await also.compare(QUESTION, GOOD, BAD)).first.tokens > 0
                renew(name)
    with pytest.raises(Unavailable):
        await by_task(address, retries=0)(QUESTION, GOOD, BAD)


def test_half_of_a_callers_certificate_is_refused(tmp_path: Path):
    with pytest.raises(InvalidInput, match="give both"), Scorer("x", tls=Tls(certificate=tmp_path)) as made:
        made.compare(QUESTION, GOOD, BAD)


def test_the_client_needs_neither_torch_nor_a_model():
    code = "import sys, selfie.client; print(*{'torch', 'transformers', 'pyarrow'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
