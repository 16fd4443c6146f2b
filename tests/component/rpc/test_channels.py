"""Channels find a server that comes back at its address."""

import asyncio
import time

import grpc

from names_server import names_server
from selfie.rpc.channels import connect, is_ready
from selfie.rpc.server import RunningServer, Service
from selfie.rpc.settings import ServerSettings

NAME = "selfie.v1.FilteringService"


async def served(port: int = 0) -> RunningServer:
    service = Service(names=(NAME,), register=lambda _: None)
    server = RunningServer(ServerSettings(port=port, drain_seconds=0), service)
    await server.start()
    return server


async def until_ready(channel: grpc.aio.Channel) -> float:
    began = time.monotonic()
    async with asyncio.timeout(30):
        while not await is_ready(channel, NAME):
            await asyncio.sleep(0.02)
    return time.monotonic() - began


async def test_a_server_that_was_long_away_is_found_again_within_seconds():
    server = await served()
    channel = connect(f"127.0.0.1:{server.port}")
    await until_ready(channel)
    await server.stop()
    # Asked in vain again and again, a channel of gRPC's own settings would now wait for ten seconds.
    for _ in range(80):
        assert not await is_ready(channel, NAME)
        await asyncio.sleep(0.1)
    again = await served(server.port)
    assert await until_ready(channel) < 4
    await channel.close()
    await again.stop()


async def test_a_server_that_comes_back_at_another_address_is_looked_up_again_within_seconds():
    server = await served()
    async with names_server() as names:
        names.address = "127.0.0.2"
        channel = connect(f"dns://127.0.0.1:{names.port}/generation.test:{server.port}")
        assert not await is_ready(channel, NAME)
        names.address = "127.0.0.1"
        # By its own settings gRPC looks a name up every thirty seconds at most.
        waited = await until_ready(channel)
        await channel.close()
    await server.stop()
    assert waited < 15
