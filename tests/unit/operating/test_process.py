"""The life of an operator: when it reconciles, and how it ends."""

import asyncio
from typing import Any

import pytest

from memory_api import MemoryApi
from selfie.errors import FailedPrecondition, Unavailable
from selfie.kube.objects import LEASE, SELFIE_RUN
from selfie_operator.keys import Key
from selfie_operator.leases import Election, LeaseTerms, holder_of
from selfie_operator.process import LOST, Contact, Operator
from selfie_operator.settings import OperatorSettings
from virtual_time import virtually

SETTINGS = OperatorSettings(drain_seconds=20)


def run(name: str) -> Any:
    return {"metadata": {"namespace": "team", "name": name}}


class Life:
    """An operator with a server in memory, whose looks take ``look_s`` seconds."""

    def __init__(self, api: MemoryApi, *, identity: str = "a", look_s: float = 1) -> None:
        self.looks: list[str] = []
        self.finished: list[str] = []
        self.lost = False
        self.ended = asyncio.Event()
        self.lease_api = api.side()
        self.election = Election(
            self.lease_api,
            LeaseTerms(namespace="selfie", name="operator", identity=identity),
            clock=asyncio.get_running_loop().time,
        )
        self.operator = Operator(SETTINGS, api, self.election, Contact(), self.lose)
        self.look_s = look_s
        self.task = asyncio.create_task(self.operator.run(self.build, self.ended))

    def build(self, settings: Any, api: Any, caches: Any, recorder: Any, check: Any) -> Any:
        async def reconcile(key: Key) -> float | None:
            self.election.check()
            self.looks.append(key.name)
            await asyncio.sleep(self.look_s)
            self.finished.append(key.name)
            return None

        return reconcile

    def lose(self) -> None:
        self.lost = True


def lease_holder(api: MemoryApi) -> str:
    return holder_of(api.objects(LEASE)[0])


def test_every_run_is_looked_at_once_it_leads_and_every_new_one_when_it_comes():
    async def test():
        api = MemoryApi()
        for name in ("one", "two"):
            api.put(SELFIE_RUN, run(name))
        life = Life(api)
        await asyncio.sleep(10)
        assert sorted(life.looks) == ["one", "two"]
        api.put(SELFIE_RUN, run("three"))
        await asyncio.sleep(10)
        assert life.looks[2:] == ["three"]
        life.ended.set()
        assert await life.task == 0

    virtually(test)


def test_nothing_is_looked_at_before_everything_is_listed():
    async def test():
        api = MemoryApi()
        api.put(SELFIE_RUN, run("one"))

        def no_pods(verb: str, kind: Any) -> None:
            if kind.plural == "pods":
                raise Unavailable("no answer")

        api.fault = no_pods
        life = Life(api)
        await asyncio.sleep(60)
        assert life.looks == []
        assert not life.operator.vitals().synced
        api.fault = lambda verb, kind: None
        await asyncio.sleep(60)
        assert life.looks == ["one"]
        life.ended.set()
        await life.task

    virtually(test)


def test_a_standby_knows_everything_and_does_nothing_until_it_leads():
    async def test():
        api = MemoryApi()
        first = Life(api, identity="a")
        await asyncio.sleep(5)
        second = Life(api, identity="b")
        api.put(SELFIE_RUN, run("one"))
        await asyncio.sleep(60)
        assert (first.looks, second.looks) == (["one"], [])
        assert second.operator.vitals().synced
        first.ended.set()
        assert await first.task == 0
        await asyncio.sleep(5)
        assert second.looks == ["one"]
        second.ended.set()
        await second.task

    virtually(test)


def test_on_sigterm_looks_in_progress_end_and_the_lease_is_given_up():
    async def test():
        api = MemoryApi()
        for number in range(SETTINGS.workers + 12):
            api.put(SELFIE_RUN, run(str(number)))
        life = Life(api, look_s=15)
        await asyncio.sleep(5)
        assert lease_holder(api) == "a"
        life.ended.set()
        assert await life.task == 0
        assert len(life.looks) == len(life.finished) == SETTINGS.workers
        assert lease_holder(api) == ""
        assert not life.lost

    virtually(test)


def test_on_sigterm_a_look_that_takes_too_long_is_broken_off():
    async def test():
        api = MemoryApi()
        api.put(SELFIE_RUN, run("one"))
        life = Life(api, look_s=90)
        await asyncio.sleep(5)
        began = asyncio.get_running_loop().time()
        life.ended.set()
        assert await life.task == 0
        assert asyncio.get_running_loop().time() - began < 21
        assert life.finished == []

    virtually(test)


def test_on_sigterm_while_it_waits_for_the_lease_it_just_ends():
    async def test():
        api = MemoryApi()
        first = Life(api, identity="a")
        await asyncio.sleep(5)
        second = Life(api, identity="b")
        await asyncio.sleep(5)
        second.ended.set()
        assert await second.task == 0
        assert lease_holder(api) == "a"
        first.ended.set()
        await first.task

    virtually(test)


def test_with_a_lost_lease_looks_are_broken_off_and_the_lease_is_left_alone():
    async def test():
        api = MemoryApi()
        api.put(SELFIE_RUN, run("one"))
        life = Life(api, look_s=100)
        await asyncio.sleep(5)

        def cut_off(verb: str, kind: Any) -> None:
            raise Unavailable("no answer")

        life.lease_api.fault = cut_off
        assert await life.task == LOST
        assert life.lost
        assert life.finished == []
        with pytest.raises(FailedPrecondition):
            life.election.check()
        assert lease_holder(api) == "a"
        assert life.operator.vitals().lost_lease

    virtually(test)


def test_a_lease_that_is_lost_while_it_drains_ends_it_at_once():
    async def test():
        api = MemoryApi()
        api.put(SELFIE_RUN, run("one"))
        life = Life(api, look_s=100)
        await asyncio.sleep(5)

        def cut_off(verb: str, kind: Any) -> None:
            raise Unavailable("no answer")

        life.lease_api.fault = cut_off
        life.ended.set()
        assert await life.task == LOST

    virtually(test)


def test_a_part_that_breaks_takes_the_process_with_it():
    async def test():
        api = MemoryApi()

        def mistake(verb: str, kind: Any) -> None:
            if kind.plural == "services":
                raise KeyError("a mistake of ours")

        api.fault = mistake
        life = Life(api)
        with pytest.raises(ExceptionGroup) as caught:
            await life.task
        assert caught.group_contains(KeyError)

    virtually(test)
