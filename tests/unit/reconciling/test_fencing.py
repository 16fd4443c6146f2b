"""A look whose Lease is lost in the middle does nothing more, and the next leader finds nothing amiss."""

import re
from contextlib import suppress

from release_kills import end_state
from selfie_operator.keys import Key, NotLeader
from simulated_release import SimulatedRelease

OUTSIDE = re.compile(r"(start|cancel|store) ")
"""What goes to services and to the store; a write to the API server is fenced where it is sent."""


class Loser:
    """Loses the Lease before each act, once, and has it again at the next look."""

    def __init__(self, release: SimulatedRelease) -> None:
        self.lost = False
        self.losses = 0
        self.late: list[str] = []
        self._release = release
        self._passed: set[str] = set()
        self._acts = 0
        release.check, release.hooks.before = self.check, self.before

    async def look(self, key: Key) -> None:
        self.lost, self._acts = False, 0
        with suppress(NotLeader):
            await self._release.reconcile(key)

    def check(self) -> None:
        self._acts += 1
        place = f"{self._release.standing()}, act {self._acts}"
        if not self.lost and place not in self._passed:
            self._passed.add(place)
            self.lost = True
            self.losses += 1
        if self.lost:
            raise NotLeader

    def before(self, what: str) -> None:
        if not self.lost:
            return
        if not OUTSIDE.match(what):
            raise NotLeader
        self.late.append(what)


async def through(run, *, losing: bool) -> tuple[object, Loser | None]:
    release = SimulatedRelease()
    key = release.apply(run)
    if not losing:
        await release.drive(key)
        return end_state(release, key), None
    loser = Loser(release)
    for _ in range(3000):
        if release.is_at_rest(key):
            break
        await loser.look(key)
        loser.lost = False
        await release.tick()
    return end_state(release, key), loser


async def test_whoever_loses_the_lease_before_an_act_does_neither_that_nor_anything_after_it(run_object):
    undisturbed, _ = await through(run_object(), losing=False)
    disturbed, loser = await through(run_object(), losing=True)
    assert loser is not None
    assert loser.losses > 50
    assert loser.late == []
    assert disturbed == undisturbed
