"""How calls come into a process, by whichever way: who may, how many, guarded by what, over TLS or not.

One of these serves gRPC and HTTP alike, so that neither is a way around the other.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc

from selfie.errors import InvalidInput
from selfie.rpc.callers import Admission, CallerInterceptor, admission_of
from selfie.rpc.guards import guards
from selfie.rpc.interceptors import GuardInterceptor
from selfie.rpc.limits import CallerLimits, limited
from selfie.rpc.settings import ServerSettings
from selfie.rpc.tls import TlsFiles

if TYPE_CHECKING:
    from google.protobuf.descriptor import ServiceDescriptor


@dataclass(frozen=True)
class HttpApi:
    """What also answers HTTP: servicers with their descriptors, and the description of their API, in JSON."""

    servicers: "tuple[tuple[ServiceDescriptor, Any], ...]" = ()
    description: bytes | None = None


NO_API = HttpApi()


@contextmanager
def told_where(address: str) -> Iterator[None]:
    """Says which address could not be listened on: InvalidInput."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        remedy = "choose a port that is free; 0 takes any"
        raise InvalidInput("port", f"{address} can't be listened on: {error}", remedy) from error


@dataclass(frozen=True)
class Entrance:
    """What each call passes, in this order: TLS, admission, guards."""

    tls: TlsFiles | None
    admission: Admission | None
    guarding: GuardInterceptor

    @classmethod
    def of(cls, settings: ServerSettings) -> "Entrance":
        """The entrance of a service with these settings."""
        limits = CallerLimits(
            per_second=settings.caller_calls_per_second, at_once=settings.caller_calls_at_once
        )
        guarding = GuardInterceptor(settings.max_call_seconds, guards(limited(limits)))
        return cls(TlsFiles.of(settings), admission_of(settings), guarding)

    @property
    def interceptors(self) -> list[grpc.aio.ServerInterceptor]:
        """The same for gRPC."""
        gates = [] if self.admission is None else [CallerInterceptor(self.admission)]
        return [*gates, self.guarding]
