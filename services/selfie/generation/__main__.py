"""``python -m selfie.generation --engine-address HOST:PORT``: serves until SIGTERM."""

import asyncio
from dataclasses import replace

from pydantic_settings import CliApp

from selfie.generation.embedded import EmbeddedEngine
from selfie.generation.servicer import Parts, generation_service
from selfie.generation.settings import GenerationSettings
from selfie.models.chat import ChatTokenizer
from selfie.rpc.channels import connect
from selfie.rpc.replicas import Replica
from selfie.rpc.server import Service, run


async def build(settings: GenerationSettings) -> Service:
    """The service that the settings describe."""
    directory = settings.tokenizer
    channel = connect(settings.engine_address, max_message_bytes=settings.max_message_bytes)
    parts = Parts(
        engine=EmbeddedEngine(channel, timeout_s=settings.call_timeout_s),
        replica=Replica.of("generation", settings),
        tokenizer=None if directory is None else await asyncio.to_thread(ChatTokenizer, directory),
        flow=settings.flow,
        retries=settings.retries,
    )
    service = generation_service(parts)

    async def close() -> None:
        await service.close()
        await channel.close()

    return replace(service, close=close)


def main() -> None:
    """Reads the settings and serves."""
    settings = CliApp.run(GenerationSettings)
    run(settings, lambda: build(settings))


if __name__ == "__main__":
    main()
