"""Channels to services of ours: retries by service config, domain errors instead of codes."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from selfie.errors import Unavailable
from selfie.rpc.credentials import Credentials, interceptors
from selfie.rpc.errors import from_rpc_error
from selfie.tracing.exporting import client_interceptors

_SERVICE_CONFIG = json.dumps(
    {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.1s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ],
        "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1},
    }
)


def connect(
    target: str, *, max_message_bytes: int = 4 * 1024 * 1024, credentials: Credentials | None = None
) -> grpc.aio.Channel:
    """A channel to one service, over all the replicas behind a ``dns:///`` name.

    ``credentials`` gives the token that is shown on each call; without it none is.
    """
    return grpc.aio.insecure_channel(
        target,
        interceptors=[*client_interceptors(), *(interceptors(credentials) if credentials else ())],
        options=[
            ("grpc.service_config", _SERVICE_CONFIG),
            # An engine comes back at the same address with each round's weights. gRPC's own patience
            # grows to two minutes, in which the new one would stand ready and nobody would ask it.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
            # A pod that is replaced has another address, and a look at the name that came a moment too
            # early would count for half a minute.
            ("grpc.dns_min_time_between_resolutions_ms", 1000),
            ("grpc.max_receive_message_length", max_message_bytes),
            ("grpc.max_send_message_length", max_message_bytes),
        ],
    )


@asynccontextmanager
async def domain_errors() -> AsyncIterator[None]:
    """Raises the domain error behind a failed call."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error) from error


async def is_ready(channel: grpc.aio.Channel, service: str, *, timeout_s: float = 5) -> bool:
    """Whether the service says that it has loaded."""
    # The health package's types know its synchronous stub alone.
    stub: Any = health_pb2_grpc.HealthStub(channel)
    try:
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=timeout_s)
    except grpc.aio.AioRpcError:
        return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def wait_ready(channel: grpc.aio.Channel, service: str, *, timeout_s: float) -> None:
    """Waits until the service is ready; Unavailable after ``timeout_s`` seconds."""
    try:
        async with asyncio.timeout(timeout_s):
            while not await is_ready(channel, service):
                await asyncio.sleep(0.1)
    except TimeoutError as error:
        raise Unavailable(f"{service} is not ready after {timeout_s:.0f} s; see its log") from error
