"""Which engine a piece of work is done by.

A service fronts engines of one kind, or, where each run has its own, of several. Whoever asks on
behalf of a policy gets the engine bound to it: told which weights are meant, and with the tokenizer
that its texts are held against.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from selfie.errors import FailedPrecondition
from selfie.generation.engines import Engine, Policy
from selfie.generation.engines_of_runs import PLACE, address_for
from selfie.generation.fleet.checks import PromptChecks
from selfie.generation.fleet.discovery import Discovery
from selfie.generation.fleet.engine import FleetEngine
from selfie.generation.fleet.members import Fleet
from selfie.generation.fleet.servers import Server
from selfie.generation.http.clients import Address
from selfie.generation.policies import PolicyTokenizers, PublishedWeights
from selfie.models.chat import ChatTokenizer
from selfie.rpc.operation_context import OperationContext
from selfie.runs.method_fields import EngineName

Connect = Callable[[Address], Server]

_MOST_FLEETS = 64


class Front(Protocol):
    """Where engines come from."""

    def online(self) -> Engine:
        """For callers who take whatever policy is there."""

    async def of_policy(self, context: OperationContext, weights: PublishedWeights) -> Engine:
        """For work on behalf of a run's policy, published in the run's store."""

    async def close(self) -> None:
        """Closes what it has opened."""


@dataclass(frozen=True)
class Fronts:
    """Every front of a service, by the kind of its engines."""

    by_kind: Mapping[EngineName, Front]

    def of(self, kind: EngineName | None = None) -> Front:
        """The front of the kind, or the only one.

        Raises `FailedPrecondition` ``EngineNotFronted`` where there is none of the kind, or several
        and none is named.
        """
        if kind is None and len(self.by_kind) == 1:
            return next(iter(self.by_kind.values()))
        if kind is not None and kind in self.by_kind:
            return self.by_kind[kind]
        raise FailedPrecondition(
            "EngineNotFronted",
            f"this service fronts engines of the kind {' or '.join(sorted(self.by_kind))}, and "
            f"{kind or 'no kind'} was asked for; name one of them, or start a service for the other kind",
        )

    async def close(self) -> None:
        """Closes what they have opened."""
        for front in self.by_kind.values():
            await front.close()


class SameForAll:
    """One engine that knows its weights by itself and takes and gives token ids, such as our own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def online(self) -> Engine:
        """The engine."""
        return self._engine

    async def of_policy(
        self,
        context: OperationContext,  # noqa: ARG002
        weights: PublishedWeights,  # noqa: ARG002
    ) -> Engine:
        """The engine."""
        return self._engine

    async def close(self) -> None:
        """Nothing: whoever made the engine closes it."""


class FleetFront:
    """Servers behind HTTP.

    ``targets`` are as `Discovery` takes them, with ``{run}`` where each run has servers of its
    own. ``tokenizer`` is that of the policy that online callers meet, if it is known.
    """

    def __init__(self, targets: str, connect: Connect, tokenizer: ChatTokenizer | None = None) -> None:
        self._targets = targets
        self._connect = connect
        self._tokenizer = tokenizer
        self._tokenizers = PolicyTokenizers()
        self._checks = PromptChecks()
        self._fleets: OrderedDict[str, Fleet] = OrderedDict()
        if PLACE not in targets:
            # Mistakes in the address are told at the start.
            self._fleets[targets] = Fleet(Discovery(targets), connect)

    def online(self) -> Engine:
        """The fleet, whatever it serves, as long as that is one policy."""
        if PLACE in self._targets:
            raise FailedPrecondition(
                "RunUnknown", "this service fronts the engines of runs; ask one that fronts a single engine"
            )
        return FleetEngine(self._fleets[self._targets], Policy(tokenizer=self._tokenizer), self._checks)

    async def of_policy(self, context: OperationContext, weights: PublishedWeights) -> Engine:
        """The fleet, as far as it serves these weights."""
        policy = Policy(weights.digest, await self._tokenizers.of(context.store, weights))
        return FleetEngine(await self._fleet(context.run_uid), policy, self._checks)

    async def close(self) -> None:
        """Closes all connections."""
        for fleet in self._fleets.values():
            await fleet.close()

    async def _fleet(self, run_uid: str) -> Fleet:
        targets = address_for(self._targets, run_uid)
        if targets not in self._fleets:
            self._fleets[targets] = Fleet(Discovery(targets), self._connect)
        self._fleets.move_to_end(targets)
        idle = [name for name, fleet in self._fleets.items() if fleet.is_idle and name != targets]
        for name in idle[: max(len(self._fleets) - _MOST_FLEETS, 0)]:
            await self._fleets.pop(name).close()
        return self._fleets[targets]
