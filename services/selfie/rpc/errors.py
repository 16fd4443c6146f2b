"""The one table between Selfie's errors and gRPC's status codes, in both directions.

A domain error leaves a service as a `google.rpc.Status` with details that machines can read
(`ErrorInfo` always; `BadRequest` for a wrong field; `RetryInfo` for overload), and arrives at
a client of ours as the same domain error again.
"""

import asyncio
from typing import Final, NoReturn, cast

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from selfie import errors

DOMAIN = "selfie.dev"

CODES: dict[type[errors.SelfieError], int] = {
    errors.InvalidInput: code_pb2.INVALID_ARGUMENT,
    errors.NotFound: code_pb2.NOT_FOUND,
    errors.AlreadyExists: code_pb2.ALREADY_EXISTS,
    errors.FailedPrecondition: code_pb2.FAILED_PRECONDITION,
    errors.Unauthenticated: code_pb2.UNAUTHENTICATED,
    errors.PermissionDenied: code_pb2.PERMISSION_DENIED,
    errors.Overloaded: code_pb2.RESOURCE_EXHAUSTED,
    errors.Unavailable: code_pb2.UNAVAILABLE,
    errors.DataCorrupted: code_pb2.DATA_LOSS,
    errors.Cancelled: code_pb2.CANCELLED,
}

_TOO_LONG: Final = "message larger than max"
RETRYABLE_CODES = frozenset({code_pb2.UNAVAILABLE, code_pb2.RESOURCE_EXHAUSTED, code_pb2.CANCELLED})


def code_of(error: errors.SelfieError) -> int:
    """The code of the closest ancestor in the table; INTERNAL for none."""
    return next((CODES[kind] for kind in type(error).__mro__ if kind in CODES), code_pb2.INTERNAL)


def to_status(error: errors.SelfieError) -> status_pb2.Status:
    """The error as a status with details."""
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)
    info.metadata["retryable"] = "true" if error.retryable else "false"
    details: list[Message] = [info]
    if isinstance(error, errors.InvalidInput):
        details.append(bad_request([(error.field, f"{error.problem}; {error.remedy}")]))
        info.metadata.update(field=error.field, problem=error.problem, remedy=error.remedy)
    if isinstance(error, errors.Overloaded):
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(round(error.retry_after_s * 1000))
        details.append(retry)
    return make_status(code_of(error), str(error), details)


def make_status(code: int, message: str, details: list[Message]) -> status_pb2.Status:
    """A status whose details are packed."""
    status = status_pb2.Status(code=code, message=message)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def bad_request(violations: list[tuple[str, str]]) -> error_details_pb2.BadRequest:
    """Field violations as (path of the field, what is wrong and what to do)."""
    fields = [
        error_details_pb2.BadRequest.FieldViolation(field=field, description=text)
        for field, text in violations
    ]
    return error_details_pb2.BadRequest(field_violations=fields)


async def abort(context: grpc.aio.ServicerContext, status: status_pb2.Status) -> NoReturn:
    """Ends the call with the status, or as one that was cancelled if its caller is gone by now."""
    try:
        await context.abort_with_status(rpc_status.to_status(status))
    except grpc.aio.InternalError as error:
        raise asyncio.CancelledError from error
    raise AssertionError("abort_with_status always raises")


def from_status(status: status_pb2.Status) -> errors.SelfieError:
    """The domain error that a status was made from, as far as it tells."""
    info = error_details_pb2.ErrorInfo()
    retry = error_details_pb2.RetryInfo()
    for detail in status.details:
        if not detail.Unpack(info):
            detail.Unpack(retry)
    match status.code:
        case code_pb2.INVALID_ARGUMENT:
            data = info.metadata
            return errors.InvalidInput(
                data.get("field", "request"),
                data.get("problem", status.message),
                data.get("remedy", "mend it"),
            )
        case code_pb2.FAILED_PRECONDITION if info.reason == "OutOfDate":
            return errors.OutOfDate(status.message)
        case code_pb2.FAILED_PRECONDITION:
            return errors.FailedPrecondition(info.reason or "FailedPrecondition", status.message)
        case code_pb2.DEADLINE_EXCEEDED:
            return errors.Unavailable(status.message)
        case code_pb2.RESOURCE_EXHAUSTED:
            seconds = retry.retry_delay.ToMilliseconds() / 1000
            return errors.Overloaded(status.message, retry_after_s=seconds)
    kind = next((kind for kind, code in CODES.items() if code == status.code), errors.SelfieError)
    return kind(status.message)


def too_long(problem: str) -> errors.InvalidInput:
    """For a message of more bytes than the service reads."""
    remedy = "send fewer responses a call, or give the service a larger --max-message-bytes"
    return errors.InvalidInput("request", problem, remedy)


def from_rpc_error(error: grpc.RpcError) -> errors.SelfieError:
    """The domain error behind a failed call; a call without details is judged by its code."""
    status = rpc_status.from_call(cast("grpc.Call", error))
    if status is not None:
        return from_status(status)
    message = error.details() or error.code().name
    if _TOO_LONG in message:
        # gRPC's own refusal has the code of overload; but no waiting makes a message shorter.
        return too_long(message)
    if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        return errors.Unavailable(message)
    return from_status(status_pb2.Status(code=error.code().value[0], message=message))


def error_status(code: str, reason: str, message: str, *, retryable: bool) -> status_pb2.Status:
    """A status from its parts, as an operation's record keeps them; ``code`` is a gRPC code's name."""
    info = error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN)
    info.metadata["retryable"] = "true" if retryable else "false"
    return make_status(code_pb2.Code.Value(code), message, [info])


def error_parts(status: status_pb2.Status) -> tuple[str, bool]:
    """Reason and retryability of a status made here."""
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        if detail.Unpack(info):
            return info.reason, info.metadata["retryable"] == "true"
    return code_pb2.Code.Name(status.code), status.code in RETRYABLE_CODES
