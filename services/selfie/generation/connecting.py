"""From the settings to the engine: the one place that knows every adapter."""

import grpc

from selfie.generation.embedded import EmbeddedEngine
from selfie.generation.fleet.servers import Server
from selfie.generation.fronts import FleetFront, Front, SameForAll
from selfie.generation.http.clients import Access, Address
from selfie.generation.openai.server import OpenAIServer
from selfie.generation.settings import EngineKind, GenerationSettings
from selfie.generation.tgi.server import TgiServer
from selfie.models.chat import ChatTokenizer
from selfie.rpc.channels import connect


def front_of(settings: GenerationSettings, tokenizer: ChatTokenizer | None) -> Front:
    """What the settings say; nothing is asked of the engine yet."""
    if settings.engine == "embedded":
        channel = connect(settings.engine_address, max_message_bytes=settings.max_message_bytes)
        return OwnEngine(channel, timeout_s=settings.call_timeout_s)
    access, kind = settings.access, settings.engine

    def connected(address: Address) -> Server:
        return server_at(
            address, access, kind=kind, model=settings.engine_model, requests=settings.engine_requests
        )

    return FleetFront(settings.engine_address, connected, tokenizer)


def server_at(
    address: Address, access: Access, *, kind: EngineKind, model: str = "", requests: int = 64
) -> Server:
    """One server behind HTTP, of the kind that it is."""
    if kind == "tgi":
        return TgiServer(address, access)
    return OpenAIServer(address, access, model=model, permits=requests)


class OwnEngine(SameForAll):
    """Selfie's engine behind a channel, which closes with it."""

    def __init__(self, channel: grpc.aio.Channel, *, timeout_s: float) -> None:
        super().__init__(EmbeddedEngine(channel, timeout_s=timeout_s))
        self._channel = channel

    async def close(self) -> None:
        """Closes the channel."""
        await self._channel.close()
