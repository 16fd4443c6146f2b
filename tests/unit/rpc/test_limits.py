"""What one caller may ask for, and that others are not held to it."""

import pytest

from selfie.errors import Overloaded
from selfie.rpc.limits import CallerLimits


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def call(limits: CallerLimits, caller: str = "ada") -> None:
    with limits.place(caller):
        pass


def test_a_caller_has_so_many_calls_in_flight_and_a_place_again_when_one_ends():
    limits = CallerLimits(at_once=2)
    with limits.place("ada"):
        with limits.place("ada"), pytest.raises(Overloaded, match="ada has 2 calls in flight"):
            call(limits)
        call(limits)


def test_a_call_that_fails_gives_its_place_back():
    limits = CallerLimits(at_once=1)
    with pytest.raises(ValueError), limits.place("ada"):
        raise ValueError
    call(limits)


def test_calls_a_second_may_come_together_and_then_have_to_wait(clock: Clock):
    limits = CallerLimits(per_second=4, clock=clock)
    for _ in range(4):
        call(limits)
    with pytest.raises(Overloaded) as caught:
        call(limits)
    assert caught.value.retry_after_s == pytest.approx(0.25)
    clock.seconds += caught.value.retry_after_s
    call(limits)
    with pytest.raises(Overloaded):
        call(limits)


def test_time_gives_back_no_more_than_a_seconds_worth(clock: Clock):
    limits = CallerLimits(per_second=2, clock=clock)
    call(limits)
    clock.seconds += 3600
    call(limits)
    call(limits)
    with pytest.raises(Overloaded):
        call(limits)


def test_less_than_a_call_a_second_is_a_rate_too(clock: Clock):
    limits = CallerLimits(per_second=0.1, clock=clock)
    call(limits)
    with pytest.raises(Overloaded) as caught:
        call(limits)
    assert caught.value.retry_after_s == pytest.approx(10)


def test_callers_are_counted_apart(clock: Clock):
    limits = CallerLimits(per_second=1, at_once=1, clock=clock)
    with limits.place("ada"):
        call(limits, "grace")


def test_a_refused_call_costs_nothing(clock: Clock):
    limits = CallerLimits(per_second=1, clock=clock)
    call(limits)
    for _ in range(10):
        with pytest.raises(Overloaded):
            call(limits)
    clock.seconds += 1
    call(limits)


def test_callers_that_are_long_gone_are_forgotten_and_those_in_flight_are_not(clock: Clock):
    limits = CallerLimits(per_second=1, at_once=1, clock=clock)
    with limits.place("ada"):
        for number in range(20_000):
            call(limits, f"caller {number}")
            clock.seconds += 0.001
        assert len(limits._accounts) <= 10_002
        with pytest.raises(Overloaded):
            call(limits)


def test_without_limits_everything_may(clock: Clock):
    limits = CallerLimits(clock=clock)
    for _ in range(1000):
        call(limits)
