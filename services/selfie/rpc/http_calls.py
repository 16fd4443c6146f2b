"""Calls over HTTP, made on the same servicers through the same guards as those over gRPC.

The Connect protocol is gRPC's methods at HTTP's terms: a POST of JSON, or of protobuf, to
``/package.Service/Method``, and a JSON object that says what was wrong.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NoReturn

import grpc
from connectrpc.code import Code
from connectrpc.errors import ConnectError, ErrorDetail
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.request import RequestContext
from connectrpc.server import Endpoint
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import code_pb2, error_details_pb2, status_pb2
from protobuf.wkt import Any as PackedDetail

from selfie.errors import SelfieError
from selfie.rpc import errors as rpc_errors
from selfie.rpc.entrances import Entrance
from selfie.tracing.attempts import call_span

_DETAILS = "grpc-status-details-bin"
_CONNECT_NAMES = {"CANCELLED": "CANCELED"}

Answer = Callable[[Message, RequestContext], Awaitable[Message]]


class _Aborted(grpc.aio.AbortError):
    """What a guard or a servicer ended the call with."""

    def __init__(self, status: status_pb2.Status) -> None:
        super().__init__(status.message)
        self.status = status


class HttpContext:
    """The part of gRPC's context that guards and servicers use."""

    def __init__(self, call: RequestContext) -> None:
        self._call = call
        self._code: int | None = None

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        """The headers of the request."""
        return tuple(self._call.request_headers.allitems())

    def time_remaining(self) -> float | None:
        """Seconds until the caller gives up, if it has said so."""
        left_ms = self._call.timeout_ms
        return None if left_ms is None else left_ms / 1000

    def peer(self) -> str:
        """Address and port of the caller."""
        return str(self._call.client_address)

    def code(self) -> int | None:
        """Number of the code that the call was ended with."""
        return self._code

    async def abort_with_status(self, status: Any) -> NoReturn:
        """Ends the call."""
        self._code = status.code.value[0]
        found = status_pb2.Status(code=self._code, message=status.details)
        for key, value in status.trailing_metadata or ():
            if key == _DETAILS:
                found = status_pb2.Status.FromString(value)
        raise _Aborted(found)


def endpoints(entrance: Entrance, service: ServiceDescriptor, servicer: Any) -> Mapping[str, Endpoint]:
    """Every method that the servicer has and that takes one message and answers with one, by its path."""
    return {
        f"/{service.full_name}/{method.name}": Endpoint.unary(
            _info(service, method), _answering(entrance, service, method, servicer)
        )
        for method in service.methods
        if method.name in vars(type(servicer)) and not (method.client_streaming or method.server_streaming)
    }


def connect_error(status: status_pb2.Status, call: RequestContext) -> ConnectError:
    """The same error as the caller sees it; overload also says in a header when to come back."""
    retry = error_details_pb2.RetryInfo()
    for detail in status.details:
        if detail.Unpack(retry):
            seconds = retry.retry_delay.ToMilliseconds() / 1000
            call.response_headers["retry-after"] = str(max(1, round(seconds)))
    name = code_pb2.Code.Name(status.code)
    details = [ErrorDetail(PackedDetail(type_url=d.type_url, value=d.value)) for d in status.details]
    return ConnectError(Code[_CONNECT_NAMES.get(name, name)], status.message, details)


def _answering(
    entrance: Entrance, service: ServiceDescriptor, method: MethodDescriptor, servicer: Any
) -> Answer:
    name = f"{service.full_name}/{method.name}"
    guarded = entrance.guarding.unary(name, getattr(servicer, method.name))

    async def answer(request: Message, call: RequestContext) -> Message:
        with call_span(f"/{name}", call.request_headers):
            try:
                found: Message = await guarded(request, HttpContext(call))
            except _Aborted as aborted:
                raise connect_error(aborted.status, call) from aborted
        return found

    return answer


class Admitting:
    """Lets callers in before their message is read."""

    def __init__(self, entrance: Entrance) -> None:
        self._admission = entrance.admission

    async def on_start(self, call: RequestContext) -> None:
        """Raises what the caller is refused with."""
        if self._admission is None:
            return
        method = f"{call.method.service_name}/{call.method.name}"
        try:
            await self._admission.admit(call.request_headers.allitems(), method=method)
        except SelfieError as error:
            raise connect_error(rpc_errors.to_status(error), call) from error

    async def on_end(self, token: None, call: RequestContext, error: Exception | None) -> None:
        """Nothing is held for a caller."""


def _info(service: ServiceDescriptor, method: MethodDescriptor) -> MethodInfo[Any, Any]:
    return MethodInfo(
        name=method.name,
        service_name=service.full_name,
        input=GetMessageClass(method.input_type),
        output=GetMessageClass(method.output_type),
        idempotency_level=IdempotencyLevel.UNKNOWN,
        stream_type=StreamType.UNARY,
    )
