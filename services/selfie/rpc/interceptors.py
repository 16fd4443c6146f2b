"""Puts the guards around every method of a server, unary or streaming."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from selfie.rpc.guards import Call, Guard, Undecodable

Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler | None]]


class GuardInterceptor(grpc.aio.ServerInterceptor):
    """Enters each guard, in order, around each call."""

    def __init__(self, max_call_seconds: float, guards: tuple[Guard, ...]) -> None:
        self._max_call_seconds = max_call_seconds
        self._guards = guards

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler | None:
        handler = await continuation(handler_call_details)
        if handler is None or handler.request_streaming:
            return handler
        method = handler_call_details.method.lstrip("/")
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                self._stream(method, handler.unary_stream),
                _decoding(handler.request_deserializer),
                handler.response_serializer,
            )
        return grpc.unary_unary_rpc_method_handler(
            self.unary(method, handler.unary_unary),
            _decoding(handler.request_deserializer),
            handler.response_serializer,
        )

    def unary(self, method: str, behaviour: Any) -> Any:
        """The behaviour with the guards around it."""

        async def guarded(request: Any, context: grpc.aio.ServicerContext) -> Any:
            async with AsyncExitStack() as stack:
                await self._enter(stack, Call(method, request, context, self._max_call_seconds))
                return await behaviour(request, context)

        return guarded

    def _stream(self, method: str, behaviour: Any) -> Any:
        async def guarded(request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
            async with AsyncExitStack() as stack:
                await self._enter(stack, Call(method, request, context, self._max_call_seconds))
                async for response in behaviour(request, context):
                    yield response

        return guarded

    async def _enter(self, stack: AsyncExitStack, call: Call) -> None:
        for guard in self._guards:
            await stack.enter_async_context(guard(call))


def _decoding(decode: Callable[[bytes], Any] | None) -> Callable[[bytes], Any]:
    """Decodes within the guards, in effect: gRPC itself would call what is no message its own fault."""

    def decoded(data: bytes) -> Any:
        try:
            return data if decode is None else decode(data)
        except DecodeError as error:
            return Undecodable(str(error))

    return decoded
