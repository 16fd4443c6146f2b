"""``python -m selfie.generation --engine-address HOST:PORT``: serves until SIGTERM."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from pydantic_settings import CliApp

from selfie.generation.embedded import EmbeddedEngine
from selfie.generation.engines_of_runs import (
    PLACE,
    EnginesOfRuns,
    NoFixedEngine,
    Opened,
    address_for,
)
from selfie.generation.servicer import Parts, generation_service
from selfie.generation.settings import GenerationSettings
from selfie.models.chat import ChatTokenizer
from selfie.rpc.channels import connect
from selfie.rpc.credentials import TokenFile
from selfie.rpc.replicas import Replica
from selfie.rpc.server import Service, run


async def build(settings: GenerationSettings) -> Service:
    """The service that the settings describe."""
    directory = settings.tokenizer
    parts = Parts(
        engine=NoFixedEngine(),
        replica=Replica.of("generation", settings),
        tokenizer=None if directory is None else await asyncio.to_thread(ChatTokenizer, directory),
        flow=settings.flow,
        retries=settings.retries,
    )
    if PLACE in settings.engine_address:
        engines = EnginesOfRuns(lambda uid: _opened(settings, address_for(settings.engine_address, uid)))
        return _closing(generation_service(replace(parts, engine_of=engines.of)), engines.close)
    fixed = _opened(settings, settings.engine_address)
    return _closing(generation_service(replace(parts, engine=fixed.engine)), fixed.close)


def _closing(service: Service, close_engines: Callable[[], Awaitable[None]]) -> Service:
    async def close() -> None:
        await service.close()
        await close_engines()

    return replace(service, close=close)


def _opened(settings: GenerationSettings, address: str) -> Opened:
    credentials = TokenFile(settings.token_file) if settings.token_file else None
    channel = connect(address, max_message_bytes=settings.max_message_bytes, credentials=credentials)

    async def close() -> None:
        await channel.close()

    return Opened(EmbeddedEngine(channel, timeout_s=settings.call_timeout_s), close)


def main() -> None:
    """Reads the settings and serves."""
    settings = CliApp.run(GenerationSettings)
    run(settings, lambda: build(settings))


if __name__ == "__main__":
    main()
