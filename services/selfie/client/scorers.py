"""The client itself, for threads and for asyncio: what differs is how a call waits."""

import asyncio
import threading
import time
from typing import Any, Self, Unpack

import grpc
from google.protobuf.message import Message

from selfie.client.answers import Comparison, Ranking, Scores, comparison_of, ranking_of, scores_of
from selfie.client.connections import OPTIONS, Connection, Tls, Token
from selfie.client.questions import (
    Options,
    Prompt,
    Response,
    compare_request,
    rank_request,
    score_request,
)
from selfie.client.retries import Patience
from selfie.rpc.errors import from_rpc_error
from selfie.v1 import scoring_pb2, scoring_pb2_grpc

DEFAULT_TIMEOUT_S = 30.0
DEFAULT_RETRIES = 4

_METHODS: dict[type[Message], str] = {
    scoring_pb2.ScoreRequest: "Score",
    scoring_pb2.CompareRequest: "Compare",
    scoring_pb2.RankRequest: "Rank",
}


class Scorer:
    """A scorer at an address such as ``localhost:50051`` or ``dns:///scorer:50051``; for many threads.

    ``timeout_s`` bounds a call with all of its attempts. ``token`` is what to show: a text, a file that
    is read for each call, or a function. ``tls`` True trusts the system's authorities; certificates
    that are renewed are used from the next call on.
    """

    def __init__(
        self,
        address: str,
        *,
        token: Token = None,
        tls: Tls | bool = False,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retries: int = DEFAULT_RETRIES,
    ) -> None:
        self._connection = _connection(address, token, tls)
        self._timeout_s = timeout_s
        self._retries = retries
        self._lock = threading.Lock()
        self._channels: list[tuple[object, grpc.Channel]] = []

    def score(self, prompt: Prompt, *responses: Response, **options: Unpack[Options]) -> Scores:
        """Log-probabilities and reward of each response."""
        return scores_of(self.call(score_request(prompt, responses, options)))

    def compare(
        self, prompt: Prompt, first: Response, second: Response, **options: Unpack[Options]
    ) -> Comparison:
        """Which of two responses the policy prefers over its reference, how surely."""
        return comparison_of(self.call(compare_request(prompt, first, second, options)))

    def rank(self, prompt: Prompt, *responses: Response, **options: Unpack[Options]) -> Ranking:
        """The responses, best first."""
        return ranking_of(self.call(rank_request(prompt, responses, options)))

    def call(self, request: Message, *, timeout_s: float | None = None) -> Any:
        """The message that answers a request; raises an error of `selfie.errors`."""
        patience = Patience(self._timeout_s if timeout_s is None else timeout_s, self._retries)
        while True:
            method = _method(self._channel(), request)
            try:
                return method(request, timeout=patience.left_s(), metadata=self._connection.metadata())
            except grpc.RpcError as error:
                time.sleep(patience.pause_s(from_rpc_error(error)))

    def close(self) -> None:
        """Closes the connection."""
        with self._lock:
            while self._channels:
                self._channels.pop()[1].close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _channel(self) -> grpc.Channel:
        with self._lock:
            state = self._connection.state()
            if not self._channels or self._channels[-1][0] != state:
                self._channels.append((state, self._connect()))
            if len(self._channels) > 2:
                # Calls on the last but one may still be under way, on older ones none is.
                self._channels.pop(0)[1].close()
            return self._channels[-1][1]

    def _connect(self) -> grpc.Channel:
        address, tls = self._connection.address, self._connection.tls
        if tls is None:
            return grpc.insecure_channel(address, options=OPTIONS)
        return grpc.secure_channel(address, tls.credentials(), options=OPTIONS)


class AsyncScorer:
    """The same for asyncio; see `Scorer`."""

    def __init__(
        self,
        address: str,
        *,
        token: Token = None,
        tls: Tls | bool = False,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retries: int = DEFAULT_RETRIES,
    ) -> None:
        self._connection = _connection(address, token, tls)
        self._timeout_s = timeout_s
        self._retries = retries
        self._channels: list[tuple[object, grpc.aio.Channel]] = []

    async def score(self, prompt: Prompt, *responses: Response, **options: Unpack[Options]) -> Scores:
        """Log-probabilities and reward of each response."""
        return scores_of(await self.call(score_request(prompt, responses, options)))

    async def compare(
        self, prompt: Prompt, first: Response, second: Response, **options: Unpack[Options]
    ) -> Comparison:
        """Which of two responses the policy prefers over its reference, how surely."""
        return comparison_of(await self.call(compare_request(prompt, first, second, options)))

    async def rank(self, prompt: Prompt, *responses: Response, **options: Unpack[Options]) -> Ranking:
        """The responses, best first."""
        return ranking_of(await self.call(rank_request(prompt, responses, options)))

    async def call(self, request: Message, *, timeout_s: float | None = None) -> Any:
        """The message that answers a request; raises an error of `selfie.errors`."""
        patience = Patience(self._timeout_s if timeout_s is None else timeout_s, self._retries)
        while True:
            method = _method(await self._channel(), request)
            try:
                return await method(request, timeout=patience.left_s(), metadata=self._connection.metadata())
            except grpc.RpcError as error:
                await asyncio.sleep(patience.pause_s(from_rpc_error(error)))

    async def close(self) -> None:
        """Closes the connection."""
        while self._channels:
            await self._channels.pop()[1].close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _channel(self) -> grpc.aio.Channel:
        state = self._connection.state()
        if not self._channels or self._channels[-1][0] != state:
            self._channels.append((state, self._connect()))
        if len(self._channels) > 2:
            await self._channels.pop(0)[1].close()
        return self._channels[-1][1]

    def _connect(self) -> grpc.aio.Channel:
        address, tls = self._connection.address, self._connection.tls
        if tls is None:
            return grpc.aio.insecure_channel(address, options=OPTIONS)
        return grpc.aio.secure_channel(address, tls.credentials(), options=OPTIONS)


def _connection(address: str, token: Token, tls: Tls | bool) -> Connection:
    if isinstance(tls, bool):
        return Connection(address, token, Tls() if tls else None)
    return Connection(address, token, tls)


def _method(channel: Any, request: Message) -> Any:
    return getattr(scoring_pb2_grpc.ScoringServiceStub(channel), _METHODS[type(request)])
