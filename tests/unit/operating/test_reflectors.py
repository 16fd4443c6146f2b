"""Reflectors: what keeps a cache up to date when watches end, expire, stall and lie."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from memory_api import MemoryApi
from selfie.errors import FailedPrecondition, Overloaded, PermissionDenied, Unavailable
from selfie.kube.objects import JOB, SELFIE_RUN, Kind
from selfie_operator.backoffs import Backoff
from selfie_operator.caches import Cache
from selfie_operator.keys import Key
from selfie_operator.reflectors import CHILD_LABELS, Reflector, Watching
from virtual_time import settle, virtually

R = Key("team", "r")


def run(name: str = "r", *, namespace: str = "team", generation: int = 1, **metadata: Any) -> Any:
    place = {"namespace": namespace, "name": name, "uid": f"uid-of-{name}"}
    return {"metadata": {**place, "generation": generation, **metadata}}


def job(name: str = "j", **labels: str) -> Any:
    return {"metadata": {"namespace": "team", "name": name, "labels": {**CHILD_LABELS, **labels}}}


class Reflected:
    def __init__(self, api: MemoryApi, kind: Kind, namespace: str | None) -> None:
        self.cache = Cache(kind)
        self.hints: list[tuple[Key, bool]] = []
        labels = None if kind == SELFIE_RUN else CHILD_LABELS
        watching = Watching(namespace=namespace, labels=labels, backoff=Backoff(1, 30, lambda: 0.0))
        self.reflector = Reflector(api, self.cache, watching, lambda *hint: self.hints.append(hint))

    def told(self) -> list[tuple[Key, bool]]:
        told, self.hints[:] = list(self.hints), []
        return told


@asynccontextmanager
async def reflecting(
    api: MemoryApi, kind: Kind = SELFIE_RUN, namespace: str | None = None
) -> AsyncIterator[Reflected]:
    reflected = Reflected(api, kind, namespace)
    task = asyncio.create_task(reflected.reflector.run())
    await settle()
    try:
        yield reflected
        assert not task.done()
    finally:
        task.cancel()


def test_what_is_there_is_listed_and_told_of_once():
    async def test():
        api = MemoryApi()
        api.put(SELFIE_RUN, run())
        async with reflecting(api) as found:
            assert found.cache.get(R) is not None
            assert found.told() == [(R, True)]

    virtually(test)


def test_a_change_is_told_of_when_it_comes():
    async def test():
        api = MemoryApi()
        async with reflecting(api) as found:
            api.put(SELFIE_RUN, run())
            await settle()
            api.put(SELFIE_RUN, run(annotations={"a": "b"}))
            await settle()
            api.drop(SELFIE_RUN, "team", "r")
            await settle()
            assert found.told() == [(R, True), (R, False), (R, True)]
            assert found.cache.get(R) is None

    virtually(test)


def test_a_new_spec_and_a_deletion_are_urgent_and_a_status_is_not():
    async def test():
        api = MemoryApi()
        api.put(SELFIE_RUN, run())
        async with reflecting(api) as found:
            found.told()
            for changed in (
                run() | {"status": {"round": 1}},
                run(generation=2),
                run(generation=2, deletionTimestamp="2026-03-01T00:00:00Z"),
            ):
                api.put(SELFIE_RUN, changed)
                await settle()
            assert found.told() == [(R, False), (R, True), (R, True)]

    virtually(test)


def test_a_child_is_a_hint_to_its_run_and_a_stranger_to_nobody():
    async def test():
        api = MemoryApi()
        async with reflecting(api, JOB) as found:
            api.put(JOB, job(**{"selfie.dev/run": "r"}))
            api.put(JOB, job("of-the-chart"))
            await settle()
            assert found.told() == [(R, False)]

    virtually(test)


def test_only_the_namespace_that_is_watched_is_listed():
    async def test():
        api = MemoryApi()
        api.put(SELFIE_RUN, run())
        api.put(SELFIE_RUN, run(namespace="other"))
        async with reflecting(api, namespace="other") as found:
            assert [key for key, _ in found.told()] == [Key("other", "r")]
        async with reflecting(api) as found:
            assert len(found.told()) == 2

    virtually(test)


def test_a_watch_that_ends_in_time_goes_on_from_where_it_was():
    async def test():
        api = MemoryApi()
        async with reflecting(api) as found:
            await asyncio.sleep(10)
            last = api.put(SELFIE_RUN, run())["metadata"]["resourceVersion"]
            await settle()
            api.interrupt(SELFIE_RUN)
            await settle()
            assert [version for _, version, _ in api.watches] == [last]
            assert api.asked.count(("list", "selfieruns")) == 1
            assert len(found.told()) == 1

    virtually(test)


def test_a_watch_that_ends_at_once_is_not_asked_for_without_end():
    async def test():
        class Ending(MemoryApi):
            async def watch(self, *args: Any, **kwargs: Any) -> Any:
                self.asked.append(("watch", "selfieruns"))
                return
                yield

        api = Ending()
        async with reflecting(api):
            await asyncio.sleep(60)
            assert api.asked.count(("watch", "selfieruns")) <= 61

    virtually(test)


def test_an_expired_version_is_followed_by_a_list_that_tells_what_was_missed():
    async def test():
        api = MemoryApi()
        api.put(SELFIE_RUN, run())
        async with reflecting(api) as found:
            found.told()
            missing = list(api.watches)
            api.watches.clear()
            api.put(SELFIE_RUN, run("missed"))
            api.drop(SELFIE_RUN, "team", "r")
            api.watches.extend(missing)
            api.interrupt(SELFIE_RUN, FailedPrecondition("Expired", "too old"))
            await asyncio.sleep(5)
            assert found.told() == [(R, True), (Key("team", "missed"), True)]
            assert found.cache.get(R) is None
            assert len(api.watches) == 1

    virtually(test)


def test_everything_is_listed_again_every_five_minutes_and_nothing_told_that_did_not_change():
    async def test():
        api = MemoryApi()
        api.put(SELFIE_RUN, run())
        async with reflecting(api) as found:
            found.told()
            await asyncio.sleep(3600)
            assert 10 <= api.asked.count(("list", "selfieruns")) <= 15
            assert found.told() == []

    virtually(test)


def test_where_every_watch_stalls_lists_take_its_place():
    async def test():
        class Stalling(MemoryApi):
            async def watch(self, *args: Any, **kwargs: Any) -> Any:
                await asyncio.sleep(70)
                raise Unavailable("nothing came for 70 s")
                yield

        api = Stalling()
        async with reflecting(api) as found:
            silences = []
            for _ in range(600):
                await asyncio.sleep(1)
                silences.append(found.reflector.silent_s)
            assert 70 < max(silences) < 150
            api.put(SELFIE_RUN, run())
            await asyncio.sleep(150)
            assert found.told() == [(R, True)]

    virtually(test)


def test_faults_are_waited_out_longer_and_longer():
    async def test():
        api = MemoryApi()

        def broken(verb: str, kind: Kind) -> None:
            raise Unavailable("no answer")

        api.fault = broken
        async with reflecting(api) as found:
            await asyncio.sleep(600)
            assert len(api.asked) < 35
            api.fault = lambda verb, kind: None
            api.put(SELFIE_RUN, run())
            await asyncio.sleep(30)
            assert found.told() == [(R, True)]

    virtually(test)


def test_a_server_that_says_when_to_come_back_is_obeyed():
    async def test():
        api = MemoryApi()

        def overloaded(verb: str, kind: Kind) -> None:
            raise Overloaded("full", retry_after_s=50)

        api.fault = overloaded
        async with reflecting(api):
            await asyncio.sleep(199)
            assert len(api.asked) == 4

    virtually(test)


def test_a_watch_that_is_forbidden_works_once_it_is_allowed():
    async def test():
        api = MemoryApi()

        def forbidden(verb: str, kind: Kind) -> None:
            raise PermissionDenied("list selfieruns")

        api.fault = forbidden
        async with reflecting(api) as found:
            await asyncio.sleep(100)
            assert found.reflector.silent_s == 100
            assert found.reflector.refusal == "list selfieruns"
            api.fault = lambda verb, kind: None
            await asyncio.sleep(31)
            assert found.cache.synced
            assert found.reflector.refusal is None

    virtually(test)


def test_replayed_changes_are_no_hints():
    async def test():
        api = MemoryApi()
        async with reflecting(api, JOB) as found:
            first = api.put(JOB, job(**{"selfie.dev/run": "r"}))
            api.put(JOB, first)
            await settle()
            api.drop(JOB, "team", "j")
            await settle()
            found.told()
            api.tell("ADDED", JOB, first)
            await settle()
            assert found.told() == []
            assert len(found.cache) == 0

    virtually(test)


def test_a_bookmark_is_a_sign_of_life():
    async def test():
        api = MemoryApi()
        async with reflecting(api) as found:
            await asyncio.sleep(60)
            assert found.reflector.silent_s == 60
            api.tell("BOOKMARK", SELFIE_RUN, {"metadata": {"resourceVersion": "77"}})
            await settle()
            assert found.reflector.silent_s == 0
            assert len(found.cache) == 0
            api.interrupt(SELFIE_RUN)
            await settle()
            assert [version for _, version, _ in api.watches] == ["77"]

    virtually(test)


def test_where_watches_are_refused_lists_do_not_come_faster_and_faster():
    async def test():
        api = MemoryApi()

        def only_lists(verb: str, kind: Kind) -> None:
            if verb == "watch":
                raise PermissionDenied("watch selfieruns")

        api.fault = only_lists
        async with reflecting(api) as found:
            await asyncio.sleep(600)
            assert api.asked.count(("list", "selfieruns")) < 35
            api.put(SELFIE_RUN, run())
            await asyncio.sleep(31)
            assert found.told() == [(R, True)]

    virtually(test)


def test_versions_that_expire_again_and_again_are_listed_at_once_each_time():
    async def test():
        api = MemoryApi()
        async with reflecting(api):
            for _ in range(20):
                await asyncio.sleep(29)
                api.interrupt(SELFIE_RUN, FailedPrecondition("Expired", "compacted"))
                await asyncio.sleep(1)
                assert len(api.watches) == 1
            assert api.asked.count(("list", "selfieruns")) <= 24

    virtually(test)


def test_a_server_that_says_expired_to_everything_is_asked_less_and_less():
    async def test():
        api = MemoryApi()

        def expired(verb: str, kind: Kind) -> None:
            if verb == "watch":
                raise FailedPrecondition("Expired", "too old")

        api.fault = expired
        async with reflecting(api):
            await asyncio.sleep(600)
            assert api.asked.count(("list", "selfieruns")) < 35

    virtually(test)


def test_a_thousand_changes_at_once_leave_everybody_else_their_turn():
    async def test():
        api = MemoryApi()
        longest = taken = 0
        hints: list[Key] = []
        cache = Cache(SELFIE_RUN)
        reflector = Reflector(api, cache, Watching(), lambda key, urgent: hints.append(key))
        task = asyncio.create_task(reflector.run())
        await settle()
        for number in range(1000):
            api.put(SELFIE_RUN, {"metadata": {"namespace": "team", "name": f"r{number}"}})
        while len(hints) < 1000:
            taken = len(hints)
            await asyncio.sleep(0)
            longest = max(longest, len(hints) - taken)
        assert longest <= 2
        task.cancel()

    virtually(test)
