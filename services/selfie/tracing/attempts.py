"""An attempt at a step is one trace, whose id can be computed by whoever looks for it.

Whoever works on the attempt, in whatever process, puts its spans there; engines of others get the
same trace in W3C's header, whether or not anybody here collects spans.
"""

import hashlib
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

_PROPAGATOR = TraceContextTextMapPropagator()
_attempt: ContextVar[str] = ContextVar("selfie_trace", default="")


def trace_of(run_uid: str, step: str, attempt: int) -> str:
    """Trace id of an attempt: 32 hexadecimal digits."""
    return hashlib.sha256(f"selfie.trace.1 {run_uid} {step} {attempt}".encode()).hexdigest()[:32]


def current_trace() -> str:
    """Trace id of the attempt that this task works on; empty outside of one."""
    return _attempt.get()


@contextmanager
def attempt_span(name: str, *, run_uid: str, step: str, attempt: int) -> Iterator[None]:
    """Makes what happens within, and what it starts, a span of the attempt's trace."""
    belongs = trace_of(run_uid, step, attempt)
    token = _attempt.set(belongs)
    attributes: dict[str, AttributeValue] = {
        "selfie.run_uid": run_uid,
        "selfie.step": step,
        "selfie.attempt": attempt,
    }
    try:
        with trace.get_tracer("selfie").start_as_current_span(name, _parent(belongs), attributes=attributes):
            yield
    finally:
        _attempt.reset(token)


@contextmanager
def span(name: str) -> Iterator[None]:
    """A part of what the present span is about."""
    with trace.get_tracer("selfie").start_as_current_span(name):
        yield


@contextmanager
def call_span(name: str, headers: Mapping[str, str]) -> Iterator[None]:
    """A call that came in over HTTP, below the span that its headers tell of."""
    parent, kind = _PROPAGATOR.extract(headers), trace.SpanKind.SERVER
    with trace.get_tracer("selfie").start_as_current_span(name, parent, kind=kind):
        yield


def present_span() -> trace.SpanContext | None:
    """The span that this task is in; None outside of one, or where nobody here collects them."""
    here = trace.get_current_span().get_span_context()
    return here if here.is_valid else None


def traceparent() -> str:
    """Value of the header for one more request; outside of a trace it begins one."""
    here = present_span()
    if here is not None:
        return f"00-{here.trace_id:032x}-{here.span_id:016x}-{int(here.trace_flags):02x}"
    return f"00-{_attempt.get() or secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def _parent(belongs: str) -> Context | None:
    """Where a span of that trace hangs: on the present one, or, where that is of another trace, on none."""
    here = present_span()
    return None if here is not None and here.trace_id == int(belongs, 16) else Context()
