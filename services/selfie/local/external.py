"""An engine that somebody else has started, and that a run on this machine samples from.

The planner sees it as it sees an engine of its own: wanted with some weights, and there once it
says that it has them. Where it can be moved to other weights it is; where it can't, the run says
what it has to be started with, and waits.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from selfie.errors import FailedPrecondition, InvalidInput, SelfieError
from selfie.generation.connecting import server_at
from selfie.generation.fleet.discovery import Discovery
from selfie.generation.fleet.members import Fleet
from selfie.generation.http.clients import Access
from selfie.runs.method_fields import EngineName
from selfie.runs.observed import ServiceObserved
from selfie.runs.spec import RunSpec

WEIGHTS = "{weights}"
"""In the name of a model: the directory of the policy's weights on this machine."""


@dataclass(frozen=True)
class EngineChoice:
    """Where the engine is, of which kind, by which name its model is asked for, and where its key is."""

    kind: EngineName
    address: str
    model: str = ""
    key_file: Path | None = None


def engine_choice(
    spec: RunSpec, address: str | None, model: str = "", key_file: Path | None = None
) -> EngineChoice | None:
    """The engine to use; None for one of our own.

    Raises `InvalidInput` where specification and options do not fit together.
    """
    kind, field = spec.generation.engine, "--engine-address"
    if address is None:
        if kind != "embedded":
            problem = f"is missing, and spec.generation.engine is {kind}, which is not started by a local run"
            raise InvalidInput(field, problem, "give the server's address, or write engine: embedded")
        return None
    if kind == "embedded":
        problem = "is given, and spec.generation.engine is embedded"
        raise InvalidInput(field, problem, "write engine: tgi or openai, or leave the option out")
    return EngineChoice(kind, address, model, key_file)


class ExternalEngine:
    """The engine of a choice, for a run whose weights are put into ``weights`` by their digests."""

    def __init__(self, choice: EngineChoice, weights: Path) -> None:
        self._choice = choice
        self._model = choice.model.replace(WEIGHTS, f"{weights}/{{digest}}")
        key = None if choice.key_file is None else choice.key_file.read_text().strip()
        access = Access(key)
        self._fleet = Fleet(
            Discovery(choice.address),
            lambda address: server_at(address, access, kind=choice.kind, model=self._model),
        )
        self._wanted: tuple[Path, str] | None = None
        self._moving: asyncio.Task[None] | None = None
        self._cannot = ""

    @property
    def flags(self) -> tuple[str, ...]:
        """Arguments of the generation service that fronts it."""
        choice = self._choice
        key = () if choice.key_file is None else ("--engine-api-key-file", str(choice.key_file.resolve()))
        model = ("--engine-model", self._model) if self._model else ()
        return ("--engine", choice.kind, "--engine-address", choice.address, *model, *key)

    def want(self, directory: Path, weights_digest: str) -> None:
        """These weights are wanted from now on."""
        if self._wanted != (directory, weights_digest):
            self._wanted, self._cannot = (directory, weights_digest), ""

    def release(self) -> None:
        """Nothing is wanted of it; it stays as it is."""
        self._wanted = None

    async def observed(self) -> ServiceObserved | None:
        """What is seen of it, while something is wanted; begins to move it if it serves other weights."""
        if self._wanted is None:
            return None
        directory, weights_digest = self._wanted
        try:
            await self._fleet.identity(weights_digest)
        except FailedPrecondition as error:
            return ServiceObserved(ready=False, message=self._set_moving(error, directory, weights_digest))
        except SelfieError as error:
            return ServiceObserved(ready=False, message=str(error))
        return ServiceObserved(ready=True, digests={"policy": weights_digest})

    async def close(self) -> None:
        """Closes its connections; a move that is under way is left to the server."""
        if self._moving is not None:
            self._moving.cancel()
            await asyncio.gather(self._moving, return_exceptions=True)
        await self._fleet.close()

    def _set_moving(self, error: FailedPrecondition, directory: Path, weights_digest: str) -> str:
        if error.reason != "WeightsMismatch" or self._cannot:
            return self._cannot or str(error)
        if self._moving is None or self._moving.done():
            self._moving = asyncio.create_task(self._move(directory, weights_digest))
        return f"{self._choice.address} is being moved to {directory}"

    async def _move(self, directory: Path, weights_digest: str) -> None:
        try:
            for server in await self._fleet.servers():
                await server.load(str(directory), weights_digest)
        except SelfieError as error:
            self._cannot = str(error)
