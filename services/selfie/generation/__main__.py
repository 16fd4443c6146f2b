"""``python -m selfie.generation --engine-address ADDRESS``: serves until SIGTERM."""

import asyncio
from dataclasses import replace

from pydantic_settings import CliApp

from selfie.generation.connecting import credentials_of, fronts_of
from selfie.generation.judging import Judges
from selfie.generation.servicer import SERVICE_NAME, Parts, generation_service
from selfie.generation.settings import GenerationSettings
from selfie.models.chat import ChatTokenizer
from selfie.rpc.replicas import Replica
from selfie.rpc.server import Service, run


async def build(settings: GenerationSettings) -> Service:
    """The service that the settings describe."""
    directory = settings.tokenizer
    tokenizer = None if directory is None else await asyncio.to_thread(ChatTokenizer, directory)
    fronts = fronts_of(settings, tokenizer)
    parts = Parts(
        fronts=fronts,
        replica=Replica.of("generation", settings),
        judges=Judges(settings.run_scoring_address, credentials=credentials_of(settings)),
        tokenizer=tokenizer,
        flow=settings.flow,
        retries=settings.retries,
    )
    service = generation_service(parts)

    async def close() -> None:
        await service.close()
        await fronts.close()

    return replace(service, close=close)


def main() -> None:
    """Reads the settings and serves."""
    settings = CliApp.run(GenerationSettings)
    run(SERVICE_NAME, settings, lambda: build(settings))


if __name__ == "__main__":
    main()
