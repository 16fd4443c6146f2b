"""From the settings to the engine: the one place that knows every adapter."""

from selfie.generation.embedded import EmbeddedEngine
from selfie.generation.engines import Engine
from selfie.generation.engines_of_runs import PLACE, EnginesOfRuns, NoFixedEngine, Opened, address_for
from selfie.generation.fleet.servers import Server
from selfie.generation.fronts import FleetFront, Front, SameForAll
from selfie.generation.http.clients import Access, Address
from selfie.generation.openai.server import OpenAIServer
from selfie.generation.policies import PublishedWeights
from selfie.generation.settings import EngineKind, GenerationSettings
from selfie.generation.tgi.server import TgiServer
from selfie.models.chat import ChatTokenizer
from selfie.rpc.channels import connect
from selfie.rpc.credentials import TokenFile
from selfie.rpc.operation_context import OperationContext


def front_of(settings: GenerationSettings, tokenizer: ChatTokenizer | None) -> Front:
    """What the settings say; nothing is asked of the engine yet."""
    if settings.engine == "embedded":
        if PLACE in settings.engine_address:
            return OwnEngines(
                EnginesOfRuns(lambda uid: _opened(settings, address_for(settings.engine_address, uid)))
            )
        return OwnEngine(_opened(settings, settings.engine_address))
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

    def __init__(self, opened: Opened) -> None:
        super().__init__(opened.engine)
        self._opened = opened

    async def close(self) -> None:
        """Closes the channel."""
        await self._opened.close()


class OwnEngines:
    """Selfie's engines of many runs, each behind a channel of its own."""

    def __init__(self, engines: EnginesOfRuns) -> None:
        self._engines = engines

    def online(self) -> Engine:
        """None: a call that is for no run is refused when it asks."""
        return NoFixedEngine()

    async def of_policy(
        self,
        context: OperationContext,
        weights: PublishedWeights,  # noqa: ARG002
    ) -> Engine:
        """The run's engine, which knows its weights by itself."""
        return self._engines.of(context.run_uid)

    async def close(self) -> None:
        """Closes all channels."""
        await self._engines.close()


def _opened(settings: GenerationSettings, address: str) -> Opened:
    credentials = TokenFile(settings.token_file) if settings.token_file else None
    channel = connect(address, max_message_bytes=settings.max_message_bytes, credentials=credentials)

    async def close() -> None:
        await channel.close()

    return Opened(EmbeddedEngine(channel, timeout_s=settings.call_timeout_s), close)
