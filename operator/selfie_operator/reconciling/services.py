"""The services as one run's look needs them: is it there, who is it, how does the work stand.

Nothing is remembered but channels. No call takes longer than its time: a service that hangs holds
up the one run that asks, and that not for long.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import grpc

from selfie.dispatch import work
from selfie.dispatch.calls import StepCall
from selfie.dispatch.services import GRPC_SERVICES, engine_digest
from selfie.errors import Unavailable
from selfie.rpc.channels import connect, is_ready
from selfie.rpc.credentials import Credentials, TokenFile
from selfie.runs.lineage import Source
from selfie.runs.observed import WorkObserved
from selfie.runs.steps import FILTERING, GENERATION, TRAINING, Step
from selfie_operator.reconciling.children import OWN, child_name
from selfie_operator.reconciling.settings import ReconcilingSettings

POD_CACHE: Final = Path("/tmp/selfie")  # noqa: S108
"""Directory of a program's pod for files that it may lose; pods have a writable /tmp of their own."""

_CHANNELS = 512


@dataclass(frozen=True)
class RunPlace:
    """Where a run's services and artifacts are found."""

    namespace: str
    uid: str
    uri: str


class Services(Protocol):
    """What a look asks of services. Raises domain errors."""

    async def is_ready(self, service: str, at: RunPlace) -> bool:
        """Whether the service says that it can work."""
        ...

    async def engine_digest(self, at: RunPlace) -> str:
        """Digest of the weights that the run's engine says it serves; empty if it says nothing."""
        ...

    async def observe(self, at: RunPlace, step: Step, attempt: int) -> WorkObserved:
        """How the attempt stands; absent where the service cannot be reached."""
        ...

    async def start(self, at: RunPlace, call: StepCall) -> None:
        """Starts the attempt, or takes it up again."""
        ...

    async def start_ahead(self, at: RunPlace, call: StepCall, source: Source) -> None:
        """Begins what can be done of the call's step while ``source`` is being made, or finds it begun."""
        ...

    async def cancel(self, at: RunPlace, step: Step, attempt: int) -> None:
        """Stops the attempt; one that is not there is as good as stopped."""
        ...


@dataclass(frozen=True)
class Addresses:
    """gRPC targets: of the shared services by name, and a pattern for a run's own."""

    shared: Mapping[str, str]
    own: str

    @classmethod
    def of(cls, settings: ReconcilingSettings) -> "Addresses":
        """Those that the release has."""
        shared = {
            GENERATION: settings.generation_address,
            FILTERING: settings.filtering_address,
            TRAINING: settings.training_address,
        }
        return cls(shared, settings.run_service_address)

    def target(self, service: str, at: RunPlace) -> str:
        """Where the service is asked for this run."""
        if service in OWN:
            return self.own.format(name=child_name(service, at.uid), namespace=at.namespace)
        return self.shared[service]


class GrpcServices:
    """The services of a release, each call with the token of this process."""

    def __init__(
        self, addresses: Addresses, *, credentials: Credentials | None = None, call_s: float = 15
    ) -> None:
        self._addresses = addresses
        self._credentials = credentials
        self._call_s = call_s
        self._channels: OrderedDict[str, grpc.aio.Channel] = OrderedDict()

    @classmethod
    def of(cls, settings: ReconcilingSettings) -> "GrpcServices":
        """Those that the release has."""
        credentials = TokenFile(settings.token_file) if settings.token_file else None
        return cls(Addresses.of(settings), credentials=credentials, call_s=settings.call_seconds)

    async def is_ready(self, service: str, at: RunPlace) -> bool:
        """Whether the service says that it can work."""
        channel = await self._channel(service, at)
        ready = await is_ready(channel, GRPC_SERVICES[service], timeout_s=min(self._call_s, 5))
        if not ready and service in OWN:
            # While a run's own service is not there, neither is its name, and with each look-up in vain
            # a channel waits longer before the next, up to two minutes. A new one looks at once.
            await self._drop(self._addresses.target(service, at))
        return ready

    async def engine_digest(self, at: RunPlace) -> str:
        """Digest of the weights that the run's engine says it serves; empty if it says nothing."""
        return await engine_digest(await self._channel("engine", at), timeout_s=min(self._call_s, 10))

    async def observe(self, at: RunPlace, step: Step, attempt: int) -> WorkObserved:
        """How the attempt stands; absent where the service cannot be reached."""
        channel = await self._channel(step.service, at)
        with suppress(Unavailable):
            async with self._in_time(step.service):
                return await work.observe(channel, at.uri, step, attempt)
        return WorkObserved(step, attempt, "absent")

    async def start(self, at: RunPlace, call: StepCall) -> None:
        """Starts the attempt, or takes it up again."""
        channel = await self._channel(call.step.service, at)
        async with self._in_time(call.step.service):
            await work.start(channel, call, POD_CACHE)

    async def start_ahead(self, at: RunPlace, call: StepCall, source: Source) -> None:
        """Begins what can be done of the call's step while ``source`` is being made, or finds it begun."""
        channel = await self._channel(call.step.service, at)
        async with self._in_time(call.step.service):
            await work.start_ahead(channel, call, source)

    async def cancel(self, at: RunPlace, step: Step, attempt: int) -> None:
        """Stops the attempt; one that is not there is as good as stopped."""
        channel = await self._channel(step.service, at)
        async with self._in_time(step.service):
            await work.cancel(channel, at.uri, step, attempt)

    async def close(self) -> None:
        """Closes all channels."""
        while self._channels:
            _, channel = self._channels.popitem()
            await channel.close()

    async def _channel(self, service: str, at: RunPlace) -> grpc.aio.Channel:
        target = self._addresses.target(service, at)
        if target not in self._channels:
            self._channels[target] = connect(target, credentials=self._credentials)
        channel = self._channels[target]
        self._channels.move_to_end(target)
        if len(self._channels) > _CHANNELS:
            # Asked for long ago: a look does not last that long.
            _, oldest = self._channels.popitem(last=False)
            await oldest.close()
        return channel

    async def _drop(self, target: str) -> None:
        channel = self._channels.pop(target, None)
        if channel is not None:
            await channel.close()

    @asynccontextmanager
    async def _in_time(self, service: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._call_s):
                yield
        except TimeoutError as error:
            raise Unavailable(f"{service} has not answered within {self._call_s:g} s") from error
