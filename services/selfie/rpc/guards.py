"""What surrounds every call: log, measure, bound in time, validate, map errors.

A guard is an async context manager around one call. They are entered in the order of
`guards`, so that an error travels through them from the last to the first.
"""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import protovalidate
import structlog
from google.protobuf.message import Message
from google.rpc import code_pb2
from prometheus_client import Counter, Gauge, Histogram

from selfie import errors
from selfie.rpc import errors as rpc_errors
from selfie.tracing.attempts import present_span

log = structlog.get_logger()

HANDLED = Counter("selfie_grpc_handled", "Calls ended, by method and code.", ["method", "code"])
SECONDS = Histogram("selfie_grpc_handling_seconds", "Time to answer a call.", ["method"])
REFUSED = Counter(
    "selfie_grpc_refused", "Calls that ended with an error of ours, by reason.", ["method", "reason"]
)
IN_FLIGHT = Gauge("selfie_grpc_in_flight", "Calls being answered.", ["method"])

MOST_VIOLATIONS = 16

_validator = protovalidate.Validator()
_LONGEST_EXEMPLAR = 64


@dataclass(frozen=True)
class Undecodable:
    """What came in place of a message."""

    problem: str


@dataclass(frozen=True)
class Call:
    """One call as the guards see it; ``max_seconds`` bounds it whatever its deadline says."""

    method: str
    request: Message | Undecodable
    context: grpc.aio.ServicerContext
    max_seconds: float


Guard = Callable[[Call], AbstractAsyncContextManager[None]]


@asynccontextmanager
async def logged(call: Call) -> AsyncIterator[None]:
    """Binds a request id, taken from the caller when it sends one, and logs how the call ended."""
    metadata = dict(call.context.invocation_metadata() or ())
    request_id = str(metadata.get("x-request-id") or uuid.uuid4())
    with structlog.contextvars.bound_contextvars(request_id=request_id, method=call.method):
        started = time.monotonic()
        try:
            yield
        finally:
            seconds = round(time.monotonic() - started, 4)
            log.debug("call", code=_code_name(call.context), seconds=seconds)


@asynccontextmanager
async def measured(call: Call) -> AsyncIterator[None]:
    """Counts and times the call; a cancelled one counts too."""
    started = time.monotonic()
    IN_FLIGHT.labels(call.method).inc()
    code = "CANCELLED"
    try:
        yield
        code = "OK"
    except Exception:
        code = _code_name(call.context)
        raise
    finally:
        IN_FLIGHT.labels(call.method).dec()
        SECONDS.labels(call.method).observe(time.monotonic() - started, _exemplar())
        HANDLED.labels(call.method, code).inc()


@asynccontextmanager
async def mapped(call: Call) -> AsyncIterator[None]:
    """Turns domain errors into statuses; anything else is our fault and stays without details."""
    try:
        yield
    except errors.SelfieError as error:
        REFUSED.labels(call.method, error.reason).inc()
        await rpc_errors.abort(call.context, rpc_errors.to_status(error))
    except (grpc.aio.AbortError, grpc.aio.UsageError):
        raise
    except Exception:
        log.exception("unexpected error", method=call.method)
        status = rpc_errors.make_status(code_pb2.INTERNAL, "internal error; see the service's log", [])
        await rpc_errors.abort(call.context, status)


@asynccontextmanager
async def bounded(call: Call) -> AsyncIterator[None]:
    """Stops work that nobody waits for any more."""
    remaining = call.context.time_remaining()
    limit = call.max_seconds if remaining is None else min(remaining, call.max_seconds)
    try:
        async with asyncio.timeout(limit):
            yield
    except TimeoutError:
        message = f"no answer within {limit:.1f} s"
        status = rpc_errors.make_status(code_pb2.DEADLINE_EXCEEDED, message, [])
        await rpc_errors.abort(call.context, status)


@asynccontextmanager
async def validated(call: Call) -> AsyncIterator[None]:
    """Refuses a message that breaks the bounds declared in the protos, naming every field."""
    if isinstance(call.request, Undecodable):
        remedy = "send a message of this method in protobuf"
        raise errors.InvalidInput("request", f"can't be decoded: {call.request.problem}", remedy)
    named = violations(call.request)
    if named:
        message = "; ".join(f"{field}: {problem}" for field, problem in named)
        details: list[Message] = [rpc_errors.bad_request(named)]
        await rpc_errors.abort(
            call.context, rpc_errors.make_status(code_pb2.INVALID_ARGUMENT, message, details)
        )
    yield


def violations(message: Message) -> list[tuple[str, str]]:
    """What breaks the bounds of a message, the first of much: path of the field, and what is wrong."""
    # An answer's metadata hold some kilobytes: a client that gets more sees overload instead of its mistake.
    found = _validator.collect_violations(message)[:MOST_VIOLATIONS]
    return [(_path(violation.proto.field), violation.proto.message) for violation in found]


def guards(*admitting: Guard) -> tuple[Guard, ...]:
    """All guards in their order; ``admitting`` refuse calls before they are looked at."""
    return (logged, measured, mapped, *admitting, bounded, validated)


def _exemplar() -> dict[str, str] | None:
    """The request and the trace by which a slow call is found; none that Prometheus would not take."""
    request_id = str(structlog.contextvars.get_contextvars().get("request_id", ""))
    told = {"request_id": request_id} if 0 < len(request_id) <= _LONGEST_EXEMPLAR else {}
    here = present_span()
    if here is not None and here.trace_flags.sampled:
        told["trace_id"] = f"{here.trace_id:032x}"
    return told or None


def _code_name(context: grpc.aio.ServicerContext) -> str:
    code: Any = context.code()
    if isinstance(code, grpc.StatusCode):
        return code.name
    return {status.value[0]: status.name for status in grpc.StatusCode}.get(code or 0, "UNKNOWN")


def _path(field: Any) -> str:
    """`responses[2].text` from protovalidate's path elements."""
    if field is None:
        return "request"
    parts = []
    for element in field.elements:
        index = element.subscript.value if element.subscript is not None else None
        parts.append(element.field_name + (f"[{index}]" if index is not None else ""))
    return ".".join(parts)
