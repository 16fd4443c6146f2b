"""From the settings to the engine: the one place that knows every adapter."""

from selfie.errors import InvalidInput
from selfie.generation.embedded import EmbeddedEngine
from selfie.generation.engines import Engine
from selfie.generation.engines_of_runs import PLACE, EnginesOfRuns, NoFixedEngine, Opened, address_for
from selfie.generation.fleet.servers import Server
from selfie.generation.fronts import FleetFront, Front, Fronts, SameForAll
from selfie.generation.http.clients import Access, Address
from selfie.generation.openai.server import OpenAIServer
from selfie.generation.policies import PublishedWeights
from selfie.generation.settings import GenerationSettings
from selfie.generation.tgi.server import TgiServer
from selfie.models.chat import ChatTokenizer
from selfie.rpc.channels import connect
from selfie.rpc.credentials import TokenFile
from selfie.rpc.operation_context import OperationContext
from selfie.runs.method_fields import EngineName


def fronts_of(settings: GenerationSettings, tokenizer: ChatTokenizer | None) -> Fronts:
    """What the settings say; nothing is asked of an engine yet."""
    if settings.engine != "embedded":
        front = _fleets(settings, settings.engine, settings.engine_address, tokenizer)
        return Fronts({settings.engine: front})
    return Fronts({"embedded": _own(settings), **_servers_of_runs(settings)})


def _own(settings: GenerationSettings) -> Front:
    if PLACE not in settings.engine_address:
        return OwnEngine(_opened(settings, settings.engine_address))
    return OwnEngines(EnginesOfRuns(lambda uid: _opened(settings, address_for(settings.engine_address, uid))))


def _servers_of_runs(settings: GenerationSettings) -> dict[EngineName, Front]:
    address = settings.run_server_address
    if not address:
        return {}
    if PLACE not in address:
        remedy = f"write http://NAME-{PLACE}:PORT, or leave it out"
        raise InvalidInput("--run-server-address", f"{address!r} is the same for every run", remedy)
    kinds: tuple[EngineName, ...] = ("tgi", "openai")
    return {kind: _fleets(settings, kind, address) for kind in kinds}


def _fleets(
    settings: GenerationSettings, kind: EngineName, address: str, tokenizer: ChatTokenizer | None = None
) -> FleetFront:
    access = settings.access

    def connected(at: Address) -> Server:
        return server_at(
            at, access, kind=kind, model=settings.engine_model, requests=settings.engine_requests
        )

    return FleetFront(address, connected, tokenizer)


def server_at(
    address: Address, access: Access, *, kind: EngineName, model: str = "", requests: int = 64
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


def credentials_of(settings: GenerationSettings) -> TokenFile | None:
    """What services that are asked are shown."""
    return TokenFile(settings.token_file) if settings.token_file else None


def _opened(settings: GenerationSettings, address: str) -> Opened:
    limit, credentials = settings.max_message_bytes, credentials_of(settings)
    channel = connect(address, max_message_bytes=limit, credentials=credentials)

    async def close() -> None:
        await channel.close()

    return Opened(EmbeddedEngine(channel, timeout_s=settings.call_timeout_s), close)
