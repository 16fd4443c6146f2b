"""How long a caller goes on asking."""

import pytest

from selfie.client.retries import Patience
from selfie.errors import InvalidInput, Overloaded, SelfieError, Unavailable

AWAY = Unavailable("nobody answers")


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.seconds = 50.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def patience(clock: Clock, *, timeout_s: float = 30, retries: int = 4, chance: float = 0.5) -> Patience:
    return Patience(timeout_s, retries, clock=clock, chance=lambda: chance)


def test_pauses_grow_and_attempts_are_counted(clock: Clock):
    asking = patience(clock, retries=3)
    assert [asking.pause_s(AWAY) for _ in range(3)] == pytest.approx([0.1, 0.2, 0.4])
    with pytest.raises(Unavailable):
        asking.pause_s(AWAY)


def test_a_service_that_says_when_to_come_back_is_not_asked_earlier(clock: Clock):
    assert patience(clock).pause_s(Overloaded("full", retry_after_s=3)) == pytest.approx(3)
    assert patience(clock).pause_s(Overloaded("full", retry_after_s=0)) == pytest.approx(0.1)


def test_a_pause_that_would_outlast_the_call_is_not_made(clock: Clock):
    with pytest.raises(Overloaded):
        patience(clock, timeout_s=2).pause_s(Overloaded("full", retry_after_s=3))


def test_the_time_of_all_attempts_is_that_of_the_call(clock: Clock):
    asking = patience(clock, timeout_s=10)
    assert asking.left_s() == 10
    clock.seconds += 9.95
    assert asking.left_s() == pytest.approx(0.05)
    with pytest.raises(Unavailable):
        asking.pause_s(AWAY)
    clock.seconds += 5
    assert asking.left_s() == 0


@pytest.mark.parametrize("error", [InvalidInput("prompt", "is bad", "mend it"), SelfieError("broken")])
def test_what_will_not_pass_is_not_tried_again(clock: Clock, error: SelfieError):
    with pytest.raises(type(error)):
        patience(clock).pause_s(error)


def test_callers_that_were_refused_together_come_back_apart(clock: Clock):
    refused = Overloaded("full", retry_after_s=4)
    pauses = [patience(clock, chance=chance).pause_s(refused) for chance in (0.0, 1.0)]
    assert pauses == pytest.approx([3, 5])
