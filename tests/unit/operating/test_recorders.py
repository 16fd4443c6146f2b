"""Events: told once, counted when repeated, bounded."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from memory_api import MemoryApi
from selfie.errors import PermissionDenied
from selfie.kube.objects import EVENT
from selfie_operator.recorders import LONGEST_NOTE, EventLimits, Recorder
from virtual_time import settle, virtually

RUN = {
    "apiVersion": "selfie.dev/v1alpha1",
    "kind": "SelfieRun",
    "metadata": {"namespace": "team", "name": "r", "uid": "u1"},
}


def another(number: int) -> Any:
    return RUN | {"metadata": {"namespace": "team", "name": f"r{number}", "uid": f"uid-{number}"}}


class Recording:
    def __init__(self, **limits: Any) -> None:
        self.api = MemoryApi()
        self.recorder = Recorder(
            self.api,
            instance="operator-0",
            limits=EventLimits(**limits),
            clock=asyncio.get_running_loop().time,
            now=lambda: datetime(2026, 3, 1, 12, tzinfo=UTC),
        )
        self.task = asyncio.create_task(self.recorder.run())

    async def events(self) -> Any:
        await settle()
        return self.api.objects(EVENT)

    async def say(self, reason: str, note: str = "done", run: Any = RUN) -> None:
        self.recorder.record(run, "Normal", reason, note)
        await settle()


def test_an_event_is_about_its_run():
    async def test():
        recording = Recording()
        await recording.say("RoundFinished", "round 1 is finished")
        (event,) = await recording.events()
        assert event["regarding"] == {
            "apiVersion": "selfie.dev/v1alpha1",
            "kind": "SelfieRun",
            "namespace": "team",
            "name": "r",
            "uid": "u1",
        }
        said = {key: event[key] for key in ("type", "reason", "note", "eventTime")}
        assert said == {
            "type": "Normal",
            "reason": "RoundFinished",
            "note": "round 1 is finished",
            "eventTime": "2026-03-01T12:00:00.000000Z",
        }

    virtually(test)


def test_the_same_words_again_are_a_count():
    async def test():
        recording = Recording()
        for _ in range(3):
            await recording.say("Stalled")
        (event,) = await recording.events()
        assert event["series"]["count"] == 3

    virtually(test)


def test_other_words_and_other_runs_are_other_events():
    async def test():
        recording = Recording()
        await recording.say("RoundFinished", "round 1")
        await recording.say("RoundFinished", "round 2")
        await recording.say("RoundFinished", "round 1", another(1))
        assert len(await recording.events()) == 3

    virtually(test)


def test_the_same_words_much_later_are_a_new_event():
    async def test():
        recording = Recording()
        await recording.say("Stalled")
        await asyncio.sleep(400)
        await recording.say("Stalled")
        assert len(await recording.events()) == 2

    virtually(test)


def test_a_series_whose_event_was_deleted_begins_anew():
    async def test():
        recording = Recording()
        await recording.say("Stalled")
        (event,) = await recording.events()
        recording.api.drop(EVENT, "team", event["metadata"]["name"])
        await recording.say("Stalled")
        assert len(await recording.events()) == 1

    virtually(test)


def test_one_run_cannot_take_the_events_of_others():
    async def test():
        recording = Recording(burst=5, each_s=60)
        for number in range(20):
            await recording.say("Noise", str(number))
        await recording.say("RoundFinished", "round 1", another(1))
        assert len(await recording.events()) == 6
        await asyncio.sleep(120)
        for number in range(20, 40):
            await recording.say("Noise", str(number))
        assert len(await recording.events()) == 8

    virtually(test)


def test_an_event_that_is_refused_disturbs_nobody():
    async def test():
        recording = Recording()

        def forbid(verb: str, kind: Any) -> None:
            raise PermissionDenied("create events")

        recording.api.fault = forbid
        await recording.say("RoundFinished", "round 1")
        recording.api.fault = lambda verb, kind: None
        await recording.say("RoundFinished", "round 2")
        assert len(await recording.events()) == 1
        assert not recording.task.done()

    virtually(test)


def test_what_was_recorded_is_sent_before_the_end_if_there_is_time():
    async def test():
        recording = Recording()
        for number in range(10):
            recording.recorder.record(RUN, "Normal", "Noise", str(number))
        await recording.recorder.flush(5)
        assert len(recording.api.objects(EVENT)) == 10

    virtually(test)


def test_a_server_that_hangs_holds_up_the_end_for_no_longer_than_that():
    async def test():
        class Hanging(MemoryApi):
            async def create(self, *args: Any, **kwargs: Any) -> Any:
                await asyncio.sleep(10_000)

        loop = asyncio.get_running_loop()
        recorder = Recorder(Hanging())
        sending = asyncio.create_task(recorder.run())
        recorder.record(RUN, "Normal", "RoundFinished", "round 1")
        began = loop.time()
        await recorder.flush(5)
        assert loop.time() - began == 5
        sending.cancel()

    virtually(test)


def test_a_note_is_cut_to_what_the_server_takes():
    async def test():
        recording = Recording()
        await recording.say("Failed", "ä" * LONGEST_NOTE)
        (event,) = await recording.events()
        assert len(event["note"].encode()) <= LONGEST_NOTE
        assert event["note"].endswith("ä…")

    virtually(test)


def test_how_a_run_has_ended_is_told_whatever_was_told_before():
    async def test():
        recording = Recording(burst=5, each_s=60)
        for number in range(20):
            await recording.say("Noise", str(number))
        recording.recorder.record(RUN, "Normal", "Completed", "all rounds are published", last=True)
        assert [event["reason"] for event in await recording.events()][-1] == "Completed"

    virtually(test)


def test_the_end_of_a_run_takes_the_place_of_what_waits_longest():
    async def test():
        recording = Recording(waiting=3)
        for number in range(5):
            recording.recorder.record(another(number), "Normal", "Noise", "x")
        recording.recorder.record(RUN, "Warning", "RetriesExhausted", "no more", last=True)
        told = [event["regarding"]["name"] for event in await recording.events()]
        assert told == ["r1", "r2", "r"]
        await recording.recorder.flush(1)

    virtually(test)
