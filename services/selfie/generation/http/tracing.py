"""W3C trace context for requests to engines, so that their logs and spans can be told by run.

All requests of one attempt share a trace, whose id can be computed from the attempt by whoever
reads the engine's traces; each request is a span of its own.
"""

import hashlib
import secrets
from contextvars import ContextVar

_trace: ContextVar[str] = ContextVar("selfie_trace", default="")


def trace_of(run_uid: str, step: str, attempt: int) -> str:
    """Trace id of an attempt: 32 hexadecimal digits."""
    return hashlib.sha256(f"selfie.trace.1 {run_uid} {step} {attempt}".encode()).hexdigest()[:32]


def begin_trace(trace: str) -> None:
    """Makes requests of this task, and of those that it starts, part of a trace."""
    _trace.set(trace)


def traceparent() -> str:
    """Value of the header for one more request; outside of a trace it begins one."""
    return f"00-{_trace.get() or secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
