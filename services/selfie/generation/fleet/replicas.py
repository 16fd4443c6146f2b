"""One server as the fleet knows it: what it last said, how busy it is, how it stands."""

import asyncio
from collections.abc import Callable

from selfie.errors import SelfieError
from selfie.generation.fleet.balancing import Load
from selfie.generation.fleet.servers import Look, Server
from selfie.generation.fleet.standing import Standing

_SHORT_REST_S = 2.0


class Replica:
    """A server, and what is remembered of it; ``clock`` gives seconds.

    ``error`` is why it is left out, or was the last time. ``retired`` says that its address is
    gone, so that it is closed when its last request has ended.
    """

    def __init__(self, server: Server, clock: Callable[[], float]) -> None:
        self.server = server
        self.standing = Standing()
        self.in_flight = 0
        self.retired = False
        self.error: SelfieError | None = None
        self.known: Look | None = None
        self._looked_at = float("-inf")
        self._looking = asyncio.Lock()
        self._clock = clock

    @property
    def is_out(self) -> bool:
        """Whether it is left alone for now."""
        return self.standing.is_out(self._clock())

    @property
    def load(self) -> Load:
        """How busy it is with what came from here."""
        return Load(self.in_flight, self.known.permits if self.known else 1)

    async def looked_since(self, moment: float) -> Look | None:
        """What it said about itself when it was asked at ``moment`` or later.

        Many may wait for one answer. None while it is left out, when its address is gone, and if it
        fails at this; then it is left out from now on.
        """
        async with self._looking:
            if self._looked_at >= moment and self.known is not None:
                return self.known
            if self.is_out or self.retired:
                return None
            started = self._clock()
            try:
                self.known = await self.server.look()
            except SelfieError as error:
                self.fail(error)
                return None
            self._looked_at = started
            return self.known

    async def proves_since(self, moment: float) -> Look | None:
        """`looked_since`, after a short rest if it has just failed at something.

        One request of many may have met a broken connection: what it did for the others stands if
        it still is who it was.
        """
        rest = self.standing.rests_until - self._clock()
        if 0 < rest <= _SHORT_REST_S and not self.retired:
            await asyncio.sleep(rest)
        return await self.looked_since(moment)

    def fail(self, error: SelfieError) -> None:
        """Leaves it out for a while, and takes back what it said about itself."""
        self.error = error
        self.known = None
        self._looked_at = float("-inf")
        self.standing = self.standing.after_failure(self._clock(), str(error))

    async def retire(self) -> None:
        """Its address is gone: nobody asks it for anything new, and what it said is worth nothing."""
        self.retired, self.known = True, None
        if self.in_flight == 0:
            await self.server.close()

    async def leave(self) -> None:
        """One request to it has ended."""
        self.in_flight -= 1
        if self.retired and self.in_flight == 0:
            await self.server.close()

    def succeed(self) -> None:
        """It has done what it was asked for."""
        self.error = None
        self.standing = self.standing.after_success()
