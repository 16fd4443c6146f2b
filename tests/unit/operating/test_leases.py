"""The Lease: who may write, when, and for how long after."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from memory_api import MemoryApi
from selfie.errors import FailedPrecondition, PermissionDenied, Unavailable
from selfie.kube.objects import LEASE, Object
from selfie_operator.leases import Election, LeaseTerms, holder_of
from virtual_time import virtually


def election(api: MemoryApi, identity: str, *, wall: timedelta = timedelta(0), **terms: float) -> Election:
    """``wall``: how far its wall clock is off."""
    return Election(
        api,
        LeaseTerms(namespace="selfie", name="operator", identity=identity, **terms),
        clock=asyncio.get_running_loop().time,
        now=lambda: datetime(2026, 3, 1, tzinfo=UTC) + wall,
    )


def lease(api: MemoryApi) -> Object:
    (found,) = api.objects(LEASE)
    return found


async def leading(api: MemoryApi, identity: str, **terms: float) -> tuple[Election, "asyncio.Task[None]"]:
    elected = election(api, identity, **terms)
    await elected.acquire()
    return elected, asyncio.create_task(elected.hold())


def unreachable(verb: str, kind: object) -> None:
    raise Unavailable("no answer")


async def elapsed(waiting: "asyncio.Task[None]") -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await waiting
    return loop.time() - began


def test_nobody_may_write_before_the_lease_is_held():
    async def test():
        elected = election(MemoryApi(), "a")
        with pytest.raises(FailedPrecondition) as caught:
            elected.check()
        assert caught.value.reason == "NotLeader"

    virtually(test)


def test_the_first_one_leads_and_goes_on_leading():
    async def test():
        api = MemoryApi()
        elected, holding = await leading(api, "a")
        await asyncio.sleep(3600)
        elected.check()
        assert holder_of(lease(api)) == "a"
        assert not holding.done()
        holding.cancel()

    virtually(test)


def test_renewals_cost_one_request_each():
    async def test():
        api = MemoryApi()
        _, holding = await leading(api, "a")
        api.asked.clear()
        await asyncio.sleep(100)
        assert set(api.asked) == {("update", "leases")}
        assert len(api.asked) <= 51
        holding.cancel()

    virtually(test)


def test_a_lease_that_is_renewed_is_never_taken():
    async def test():
        api = MemoryApi()
        _, holding = await leading(api, "a")
        other = asyncio.create_task(election(api, "b").acquire())
        await asyncio.sleep(3600)
        assert not other.done()
        assert not holding.done()
        other.cancel()
        holding.cancel()

    virtually(test)


@pytest.mark.parametrize("skew", [timedelta(0), timedelta(minutes=5), timedelta(minutes=-5)])
def test_a_lease_that_falls_silent_is_taken_after_its_duration_whatever_the_clocks_say(skew: timedelta):
    async def test():
        api = MemoryApi()
        _, holding = await leading(api, "a")
        other = asyncio.create_task(election(api, "b", wall=skew).acquire())
        await asyncio.sleep(60)
        holding.cancel()
        assert 11 < await elapsed(other) <= 20
        assert lease(api)["spec"]["leaseTransitions"] == 1

    virtually(test)


def test_the_holder_stops_writing_before_another_can_begin():
    async def test():
        api = MemoryApi()
        loop = asyncio.get_running_loop()
        side = api.side()
        first, holding = await leading(side, "a")
        second = election(api, "b")
        taking = asyncio.create_task(second.acquire())
        await asyncio.sleep(7)
        side.fault = unreachable
        ended, taken = [], []
        while not taken:
            await asyncio.sleep(0.01)
            ended += [loop.time()] if not first.is_leader and not ended else []
            taken += [loop.time()] if second.is_leader else []
        assert ended
        assert taken[0] - ended[0] > 4
        taking.cancel()
        holding.cancel()

    virtually(test)


def test_without_an_answer_it_writes_for_no_more_than_the_renewal_time():
    async def test():
        api = MemoryApi()
        elected, holding = await leading(api, "a")
        api.fault = unreachable
        assert await elapsed(holding) <= 10
        assert not elected.is_leader

    virtually(test)


def test_an_answer_that_hangs_does_not_keep_it_writing():
    async def test():
        api = HangingApi()
        elected, holding = await leading(api, "a")
        api.hangs = True
        assert await elapsed(holding) <= 10
        assert not elected.is_leader

    virtually(test)


def test_a_passing_fault_does_not_end_it():
    async def test():
        api = MemoryApi()
        elected, holding = await leading(api, "a")
        began = asyncio.get_running_loop().time()

        def cut_off_for_a_while(verb: str, kind: object) -> None:
            if asyncio.get_running_loop().time() - began < 7:
                raise Unavailable("no answer")

        api.fault = cut_off_for_a_while
        await asyncio.sleep(60)
        assert elected.is_leader
        holding.cancel()

    virtually(test)


def test_after_an_answer_that_hung_there_is_time_for_a_slow_one():
    async def test():
        api = HangingApi()
        elected, holding = await leading(api, "a")
        api.hangs = True
        # The next renewal begins after two seconds, and is given up after five more.
        await asyncio.sleep(7.1)
        api.hangs, api.slow_s = False, 2
        await asyncio.sleep(60)
        assert elected.is_leader
        assert not holding.done()
        holding.cancel()

    virtually(test)


def test_a_renewal_whose_reply_was_lost_is_still_its_own():
    async def test():
        api = MemoryApi()
        elected, holding = await leading(api, "a")
        api.reply_lost = True
        await asyncio.sleep(3)
        api.reply_lost = False
        await asyncio.sleep(60)
        assert elected.is_leader
        holding.cancel()

    virtually(test)


def test_a_foreign_write_to_the_lease_does_not_end_it():
    async def test():
        api = MemoryApi()
        elected, holding = await leading(api, "a")
        labelled = lease(api)
        labelled["metadata"]["labels"] = {"by": "hand"}
        api.put(LEASE, labelled)
        await asyncio.sleep(60)
        assert elected.is_leader
        assert lease(api)["metadata"]["labels"] == {"by": "hand"}
        holding.cancel()

    virtually(test)


def test_a_lease_that_another_has_taken_ends_it_at_the_next_renewal():
    async def test():
        api = MemoryApi()
        elected, holding = await leading(api, "a")
        stolen = lease(api)
        stolen["spec"]["holderIdentity"] = "b"
        api.put(LEASE, stolen)
        assert await elapsed(holding) <= 2.5
        assert not elected.is_leader
        await elected.release()
        assert holder_of(lease(api)) == "b"

    virtually(test)


def test_a_lease_that_was_deleted_ends_it():
    async def test():
        api = MemoryApi()
        elected, holding = await leading(api, "a")
        api.drop(LEASE, "selfie", "operator")
        assert await elapsed(holding) <= 2.5
        assert not elected.is_leader

    virtually(test)


def test_a_process_that_was_stopped_finds_out_before_it_writes():
    async def test():
        api = MemoryApi()
        stopped_for = 0.0
        loop = asyncio.get_running_loop()
        elected = Election(
            api,
            LeaseTerms(namespace="selfie", name="operator", identity="a"),
            clock=lambda: loop.time() + stopped_for,
        )
        await elected.acquire()
        holding = asyncio.create_task(elected.hold())
        await asyncio.sleep(5)
        stopped_for = 60.0
        with pytest.raises(FailedPrecondition):
            elected.check()
        api.asked.clear()
        await holding
        assert not api.asked

    virtually(test)


def test_a_released_lease_is_free_at_once():
    async def test():
        api = MemoryApi()
        elected, holding = await leading(api, "a")
        other = asyncio.create_task(election(api, "b").acquire())
        await asyncio.sleep(30)
        holding.cancel()
        await elected.release()
        with pytest.raises(FailedPrecondition):
            elected.check()
        assert await elapsed(other) <= 2.5

    virtually(test)


def test_who_never_held_it_releases_nothing():
    async def test():
        api = MemoryApi()
        _, holding = await leading(api, "a")
        other = election(api, "b")
        waiting = asyncio.create_task(other.acquire())
        await asyncio.sleep(5)
        waiting.cancel()
        await other.release()
        assert holder_of(lease(api)) == "a"
        holding.cancel()

    virtually(test)


def test_only_one_of_many_that_come_at_once_leads():
    async def test():
        api = MemoryApi()
        elections = [election(api, str(number)) for number in range(10)]
        tasks = [asyncio.create_task(elected.acquire()) for elected in elections]
        await asyncio.sleep(1)
        assert sum(task.done() for task in tasks) == 1
        assert sum(elected.is_leader for elected in elections) == 1
        for task in tasks:
            task.cancel()

    virtually(test)


def test_a_longer_term_that_the_holder_wrote_is_respected():
    async def test():
        api = MemoryApi()
        _, holding = await leading(api, "a", duration_s=60, renew_s=40, retry_s=5)
        other = asyncio.create_task(election(api, "b").acquire())
        await asyncio.sleep(30)
        holding.cancel()
        assert await elapsed(other) > 50

    virtually(test)


def test_a_lease_that_it_may_not_read_is_asked_for_again():
    async def test():
        api = MemoryApi()

        def forbid(verb: str, kind: object) -> None:
            raise PermissionDenied("get leases")

        api.fault = forbid
        waiting = asyncio.create_task(election(api, "a").acquire())
        await asyncio.sleep(100)
        assert not waiting.done()
        api.fault = lambda verb, kind: None
        assert await elapsed(waiting) <= 2.5

    virtually(test)


class HangingApi(MemoryApi):
    hangs = False
    slow_s = 0.0

    async def replace(self, *args, **kwargs) -> Object:
        await asyncio.sleep(10_000 if self.hangs else self.slow_s)
        return await super().replace(*args, **kwargs)
