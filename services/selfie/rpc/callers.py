"""Who may call a service: an interceptor before everything else, for every method but health.

Kubelets ask for health and have no token of ours.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextvars import ContextVar
from typing import Any, NoReturn, Protocol

import grpc
import structlog
from google.rpc import code_pb2

from selfie.errors import PermissionDenied, SelfieError, Unauthenticated
from selfie.rpc import errors as rpc_errors
from selfie.rpc.api_tokens import ApiTokens
from selfie.rpc.guards import HANDLED
from selfie.rpc.settings import ServerSettings

log = structlog.get_logger()

CALLER: ContextVar[str | None] = ContextVar("CALLER", default=None)
"""Who makes the call that is being answered, once they have been admitted."""

_EXEMPT = "/grpc.health.v1.Health/"
_SCHEME = "bearer "
Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler | None]]


class Accounts(Protocol):
    """Says whose a token is."""

    async def subject_of(self, token: str) -> str:
        """See `selfie.rpc.service_accounts.ServiceAccountTokens`."""
        ...


class Admission:
    """``callers`` are subjects of tokens, such as ``system:serviceaccount:team:selfie-operator``."""

    def __init__(
        self,
        callers: Iterable[str],
        accounts: Accounts | None = None,
        api_tokens: ApiTokens | None = None,
    ) -> None:
        self._callers = frozenset(callers)
        self._accounts = accounts
        self._api_tokens = api_tokens

    async def admit(self, metadata: Iterable[tuple[str, str | bytes]], *, method: str) -> None:
        """Lets a call in, as that of `CALLER`; `Unauthenticated` or `PermissionDenied` if it may not."""
        try:
            CALLER.set(await self.admitted(metadata))
        except SelfieError as error:
            code = code_pb2.Code.Name(rpc_errors.code_of(error))
            HANDLED.labels(method, code).inc()
            log.warning("a caller was refused", method=method, code=code, error=str(error))
            raise

    async def admitted(self, metadata: Iterable[tuple[str, str | bytes]]) -> str:
        """Who calls, if they may; `Unauthenticated` or `PermissionDenied` if not."""
        token = _bearer(metadata)
        name = self._api_tokens.name_of(token) if self._api_tokens else None
        if name is not None:
            return f"api-token:{name}"
        if self._accounts is None:
            raise Unauthenticated("the token is none of those that this service knows")
        subject = await self._accounts.subject_of(token)
        if subject not in self._callers:
            raise PermissionDenied(f"{subject} is not among the callers of this service")
        return subject


def admission_of(settings: ServerSettings) -> Admission | None:
    """Whom these settings admit; None if they ask nobody who they are."""
    if not settings.callers and settings.api_tokens is None:
        return None
    accounts = None
    if settings.callers:
        # What verifies their tokens is installed where there are any: on a cluster.
        from selfie.rpc.service_accounts import ApiServerKeys, ServiceAccountTokens

        source = ApiServerKeys(settings.api_server, settings.api_credentials)
        accounts = ServiceAccountTokens(source, audience=settings.audience)
    api_tokens = ApiTokens(settings.api_tokens) if settings.api_tokens else None
    return Admission(settings.callers, accounts, api_tokens)


class CallerInterceptor(grpc.aio.ServerInterceptor):
    """Answers a caller that is not admitted with why, before its message is looked at."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler | None:
        handler = await continuation(handler_call_details)
        if handler is None or handler_call_details.method.startswith(_EXEMPT):
            return handler
        method = handler_call_details.method.lstrip("/")
        try:
            await self._admission.admit(handler_call_details.invocation_metadata or (), method=method)
        except SelfieError as error:
            return _refusing(handler, error)
        return handler


def _bearer(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    for name, value in metadata:
        if name.lower() == "authorization" and str(value).lower().startswith(_SCHEME):
            return str(value)[len(_SCHEME) :].strip()
    raise Unauthenticated("no token was shown; send it in the metadata `authorization: Bearer TOKEN`")


def _refusing(handler: grpc.RpcMethodHandler, error: SelfieError) -> grpc.RpcMethodHandler:
    """A handler of the same kind that only says why."""

    async def refuse(_: Any, context: grpc.aio.ServicerContext) -> NoReturn:
        await rpc_errors.abort(context, rpc_errors.to_status(error))

    async def refuse_stream(_: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
        await rpc_errors.abort(context, rpc_errors.to_status(error))
        yield

    kinds = {
        (False, False): (grpc.unary_unary_rpc_method_handler, refuse),
        (False, True): (grpc.unary_stream_rpc_method_handler, refuse_stream),
        (True, False): (grpc.stream_unary_rpc_method_handler, refuse),
        (True, True): (grpc.stream_stream_rpc_method_handler, refuse_stream),
    }
    make, behaviour = kinds[bool(handler.request_streaming), bool(handler.response_streaming)]
    return make(behaviour, handler.request_deserializer, handler.response_serializer)
