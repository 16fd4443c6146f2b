"""``python -m selfie.generation.following --engine-address URL …``: follows until SIGTERM.

With ``--first`` it ends as soon as there are weights for the engine to begin with.
"""

import asyncio
import sys
from functools import partial

from pydantic_settings import CliApp

from selfie.artifacts.store import open_store
from selfie.errors import SelfieError
from selfie.generation.following.follower import Follower
from selfie.generation.following.servicer import SERVICE_NAME, following_service
from selfie.generation.following.settings import FollowingSettings
from selfie.generation.following.wanted import read_wanted
from selfie.generation.http.clients import Access, Address
from selfie.generation.openai.server import OpenAIServer
from selfie.rpc.server import Service, run


def follower_of(settings: FollowingSettings) -> Follower:
    """The follower that the settings describe."""
    return Follower(open_store(settings.run_uri), settings.weights, partial(read_wanted, settings.wanted))


async def build(settings: FollowingSettings) -> Service:
    """The service that the settings describe."""
    url = settings.engine_address.rstrip("/")
    access = Access(None, timeout_s=settings.move_seconds)
    server = OpenAIServer(Address(url, url.partition("://")[2]), access)
    return following_service(follower_of(settings), server, look_s=settings.look_seconds)


async def first(settings: FollowingSettings) -> None:
    """Waits until weights are wanted, and fetches them."""
    follower = follower_of(settings)
    while await follower.fetch() is None:
        await asyncio.sleep(settings.look_seconds)


def main() -> None:
    """Reads the settings, and fetches or serves."""
    settings = CliApp.run(FollowingSettings)
    if not settings.first:
        run(SERVICE_NAME, settings, lambda: build(settings))
        return
    try:
        asyncio.run(first(settings))
    except SelfieError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
