"""The servers of a fleet together: who serves which weights, and who is free."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

import structlog

from selfie.errors import FailedPrecondition, SelfieError, Unavailable
from selfie.generation.engines import EngineIdentity
from selfie.generation.fleet.balancing import pick
from selfie.generation.fleet.discovery import Discovery
from selfie.generation.fleet.replicas import Replica
from selfie.generation.fleet.servers import Look, Server
from selfie.generation.http.clients import Address

log = structlog.get_logger()

# A server's word about itself holds for so long before it is sampled from; after sampling it is asked anew.
FRESH_S = 1.0
# Whoever waits for a free replica looks up from time to time: one may have come back.
_LOOK_UP_S = 1.0


class Fleet:
    """Every server that `Discovery` finds, by its address."""

    def __init__(
        self,
        discovery: Discovery,
        connect: Callable[[Address], Server],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._discovery = discovery
        self._connect = connect
        self._clock = clock
        self._members: dict[str, Replica] = {}
        self._freed = asyncio.Condition()

    @property
    def is_idle(self) -> bool:
        """Whether nobody is being asked for anything."""
        return not any(replica.in_flight for replica in self._members.values())

    async def identity(self, weights_digest: str) -> EngineIdentity:
        """Who answers right now for these weights, or for any if none are named.

        Raises `FailedPrecondition` ``WeightsMismatch`` when every server is there and serves
        others, `Unavailable` while that can still change, or while servers are of two minds.
        """
        looks = await self._looks(self._clock())
        named = [look for look in looks.values() if look.serves(weights_digest)]
        if not named:
            raise self._why_none(weights_digest)
        found = [_for_weights(look, weights_digest) for look in named]
        if len({identity.weights_digest for identity in found}) > 1:
            served = ", ".join(sorted({identity.weights_digest for identity in found}))
            raise Unavailable(f"the engine's replicas serve different weights ({served}); wait for the roll")
        return _merged(found)

    async def acquire(self, key: bytes, weights_digest: str) -> Replica:
        """Waits for a replica that serves these weights and is free; `release` it afterwards.

        Raises what `identity` raises when there is none.
        """
        while True:
            looks = await self._looks(self._clock() - FRESH_S)
            fit = {name: self._members[name] for name, look in looks.items() if look.serves(weights_digest)}
            if not fit:
                raise self._why_none(weights_digest)
            name = pick({name: replica.load for name, replica in fit.items()}, key)
            if name is not None:
                fit[name].in_flight += 1
                return fit[name]
            async with self._freed:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_UP_S):
                        await self._freed.wait()

    async def release(self, replica: Replica) -> None:
        """Says that a request to the replica has ended, however it did."""
        await replica.leave()
        async with self._freed:
            self._freed.notify_all()

    async def still_serving(self, replicas: Iterable[Replica], weights_digest: str) -> set[Replica]:
        """Those of the replicas that say now, not before, that they serve these weights."""
        moment = self._clock()
        asked = list(replicas)
        looks = await asyncio.gather(*(replica.proves_since(moment) for replica in asked))
        return {
            replica
            for replica, look in zip(asked, looks, strict=True)
            if look is not None and look.serves(weights_digest)
        }

    async def servers(self) -> list[Server]:
        """Every server, in the order of their addresses; `Unavailable` if there is none."""
        await self._refresh()
        if not self._members:
            raise self._why_none("")
        return [self._members[name].server for name in sorted(self._members)]

    async def close(self) -> None:
        """Closes all connections."""
        members, self._members = self._members, {}
        for replica in members.values():
            await replica.retire()

    async def _looks(self, moment: float) -> dict[str, Look]:
        await self._refresh()
        members = dict(self._members)
        looks = await asyncio.gather(*(replica.looked_since(moment) for replica in members.values()))
        # A server may have failed, and what it said been taken back, while others were waited for.
        return {
            name: look
            for name, look in zip(members, looks, strict=True)
            if look is not None and self._members.get(name) is members[name]
        }

    async def _refresh(self) -> None:
        found = {address.url: address for address in await self._discovery.addresses()}
        for name in found.keys() - self._members.keys():
            log.info("an engine's replica has come", replica=name)
            self._members[name] = Replica(self._connect(found[name]), self._clock)
        for name in self._members.keys() - found.keys():
            log.info("an engine's replica has gone", replica=name)
            gone = self._members.pop(name, None)
            if gone is not None:
                await gone.retire()

    def _why_none(self, weights_digest: str) -> SelfieError:
        """Why no replica will do: mended by waiting, unless all are there and none is the right one."""
        if not self._members:
            return Unavailable(
                "the engine has no ready replica; wait for its pods, or see why they don't start"
            )
        says = "; ".join(f"{name}: {_told(replica)}" for name, replica in sorted(self._members.items()))
        looks = [replica.known for replica in self._members.values()]
        if all(look is not None and not (look.moving or look.serves(weights_digest)) for look in looks):
            return FailedPrecondition(
                "WeightsMismatch",
                f"the policy's weights are {weights_digest}, and no replica of the engine serves them "
                f"({says}); move the engine to them first",
            )
        lasting = [
            replica.error
            for replica in self._members.values()
            if replica.known is None and isinstance(replica.error, FailedPrecondition)
        ]
        if len(lasting) == len(self._members):
            return lasting[0]
        return Unavailable(
            f"no replica of the engine can be asked for {weights_digest or 'a sample'}: {says}"
        )


def _told(replica: Replica) -> str:
    if replica.known is None:
        return str(replica.error or "has not said yet who it is")
    if replica.known.moving:
        return "is being moved to its weights"
    return f"serves {replica.known.identity.weights_digest or 'weights that it does not name by a digest'}"


def _for_weights(look: Look, weights_digest: str) -> EngineIdentity:
    if look.named_by_request and weights_digest:
        return replace(look.identity, weights_digest=weights_digest)
    return look.identity


def _merged(identities: Sequence[EngineIdentity]) -> EngineIdentity:
    """The fleet as one engine: what differs between its servers is told of all of them."""
    rooms = [identity.max_context_tokens for identity in identities if identity.max_context_tokens]
    return replace(
        identities[0],
        max_context_tokens=min(rooms, default=0),
        precision=" + ".join(sorted({identity.precision for identity in identities})),
        engine=" + ".join(sorted({identity.engine for identity in identities})),
    )
