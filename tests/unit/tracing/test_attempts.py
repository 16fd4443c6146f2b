"""The trace of an attempt is known to whoever knows the attempt, and to requests that work for it."""

import threading
from contextvars import copy_context

import pytest

from selfie.tracing.attempts import attempt_span, current_trace, trace_of, traceparent

ATTEMPT = {"run_uid": "uid", "step": "rounds/01/generate", "attempt": 1}


def test_an_attempts_trace_is_its_own_and_always_the_same():
    assert trace_of("uid", "rounds/01/generate", 1) == trace_of("uid", "rounds/01/generate", 1)
    attempts = [("uid", 1, 1), ("uid", 1, 2), ("uid", 2, 1), ("iud", 1, 1)]
    assert len({trace_of(uid, f"rounds/0{number}/score", attempt) for uid, number, attempt in attempts}) == 4


def test_requests_outside_of_an_attempt_have_traces_of_their_own():
    first, second = traceparent().split("-"), traceparent().split("-")
    assert [len(part) for part in first] == [2, 32, 16, 2]
    assert first[1] != second[1]


def test_requests_of_an_attempt_are_spans_of_its_trace_though_nobody_here_collects_them():
    with attempt_span("work", **ATTEMPT):
        first, second = traceparent().split("-"), traceparent().split("-")
    assert first[1] == second[1] == trace_of("uid", "rounds/01/generate", 1)
    assert first[2] != second[2]
    assert not current_trace()


def test_a_trace_ends_with_its_work_however_that_ends():
    with pytest.raises(ValueError, match="broken"), attempt_span("work", **ATTEMPT):
        raise ValueError("broken")
    assert not current_trace()


def test_a_thread_that_is_given_the_context_works_in_the_same_trace():
    seen = []
    with attempt_span("work", **ATTEMPT):
        context = copy_context()
    thread = threading.Thread(target=lambda: seen.append(context.run(current_trace)))
    thread.start()
    thread.join()
    assert seen == [trace_of("uid", "rounds/01/generate", 1)]
