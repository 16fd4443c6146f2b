"""What `helm test` does in its pod."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from memory_api import MemoryApi
from selfie.errors import FailedPrecondition, Unavailable
from selfie.kube.objects import SELFIE_RUN
from selfie_operator.trial import RESPONSES, TrialSettings, asked, tried

RUN = {
    "apiVersion": "selfie.dev/v1alpha1",
    "kind": "SelfieRun",
    "metadata": {"name": "trial", "namespace": "team"},
    "spec": {},
}


def condition(kind: str) -> dict[str, Any]:
    since = "2026-01-01T00:00:00Z"
    common = {"reason": "Why", "message": "so it is", "lastTransitionTime": since}
    return {"conditions": [{"type": name, "status": "True", **common} for name in ("Succeeded", kind)]}


def settings(**fields: Any) -> TrialSettings:
    return TrialSettings(file="x", namespace="team", look_seconds=0.01, **fields)


async def after(api: MemoryApi, change: Any) -> None:
    while (found := await api.get(SELFIE_RUN, "trial", namespace="team")) is None:
        await asyncio.sleep(0.01)
    change(found)


async def test_a_run_that_is_complete_is_told_of_and_removed():
    api = MemoryApi()
    ended = asyncio.create_task(
        after(api, lambda found: api.put(SELFIE_RUN, {**found, "status": condition("Complete")}))
    )
    assert await tried(api, RUN, settings()) == "so it is"
    await ended
    assert await api.get(SELFIE_RUN, "trial", namespace="team") is None


async def test_a_run_that_fails_is_told_in_its_own_words_and_removed():
    api = MemoryApi()
    ended = asyncio.create_task(
        after(api, lambda found: api.put(SELFIE_RUN, {**found, "status": condition("Failed")}))
    )
    with pytest.raises(FailedPrecondition, match="so it is"):
        await tried(api, RUN, settings())
    await ended
    assert await api.get(SELFIE_RUN, "trial", namespace="team") is None


async def test_a_run_that_takes_too_long_is_removed():
    api = MemoryApi()
    with pytest.raises(FailedPrecondition, match=r"not Complete after 0\.05 s: Pending"):
        await tried(api, RUN, settings(seconds=0.05))
    assert await api.get(SELFIE_RUN, "trial", namespace="team") is None


async def test_a_run_that_somebody_else_deletes_is_no_success():
    api = MemoryApi()
    gone = asyncio.create_task(after(api, lambda found: api.drop(SELFIE_RUN, "team", "trial")))
    with pytest.raises(FailedPrecondition, match="somebody else"):
        await tried(api, RUN, settings())
    await gone


async def test_an_api_server_that_is_away_for_a_moment_ends_no_trial():
    api = MemoryApi()
    faults = iter((True, False))

    def away(verb: str, kind: Any) -> None:
        if verb == "get" and next(faults, False):
            raise Unavailable("gone for a moment")

    ended = asyncio.create_task(
        after(api.side(), lambda found: api.put(SELFIE_RUN, {**found, "status": condition("Complete")}))
    )
    api.fault = away
    assert await tried(api, RUN, settings()) == "so it is"
    await ended


@dataclass(frozen=True)
class Answer:
    """What of a scorer's answer counts here."""

    margin: float
    tie_band: float = 0.01
    probability: float = 0.6
    preferred: str = "first"


class ToyScorer:
    """Prefers the first of the responses, as it knows them, by 0.4; named first, either by ``more``."""

    def __init__(self, more: float = 0.0) -> None:
        self.more = more
        self.asked: list[tuple[str, str]] = []

    async def compare(self, prompt: str, first: str, second: str) -> Answer:
        self.asked.append((first, second))
        return Answer((0.4 if first == RESPONSES[0] else -0.4) + self.more)


async def test_a_scorer_that_prefers_the_same_response_either_way_is_told_of():
    scorer = ToyScorer()
    assert await asked(scorer) == "the scorer answers: p = 0.600, first"
    assert scorer.asked == [RESPONSES, RESPONSES[::-1]]


async def test_a_scorer_that_goes_by_the_order_is_not_trusted():
    with pytest.raises(FailedPrecondition, match="named first"):
        await asked(ToyScorer(more=0.1))
