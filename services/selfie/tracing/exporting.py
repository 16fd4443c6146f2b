"""Sends the spans of this process to a collector, where the settings name one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
from opentelemetry import trace

from selfie.errors import InvalidInput
from selfie.tracing.attempts import current_trace
from selfie.tracing.settings import TracingSettings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

# Questions how far something is, many for each answer: their spans would hide the others.
_UNTOLD = ("grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection")
_UNTOLD_METHODS = ("GetOperation", "GetTrainingJob", "GetEngine")


@contextmanager
def traced(service: str, settings: TracingSettings) -> Iterator[None]:
    """Sends what happens within; the last spans are sent before it is left. Once in a process.

    Raises `InvalidInput` where the settings name a collector and the packages are not installed.
    """
    if settings.traces_endpoint is None:
        yield
        return
    try:
        provider = _made(service, settings.traces_endpoint, settings.traces_ratio)
    except ImportError as error:
        remedy = "install selfie[tracing], or leave the flag out"
        problem = f"is given without what it takes: {error}"
        raise InvalidInput("--traces-endpoint", problem, remedy) from error
    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        provider.shutdown()


def _made(service: str, endpoint: str, ratio: float) -> "TracerProvider":
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    class AttemptIds(RandomIdGenerator):
        def generate_trace_id(self) -> int:
            return int(current_trace(), 16) if current_trace() else super().generate_trace_id()

    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(ratio)),
        resource=Resource({"service.name": service, "service.instance.id": os.uname().nodename}),
        id_generator=AttemptIds(),
        shutdown_on_exit=False,
    )
    exporter = OTLPSpanExporter(endpoint=endpoint, insecure=endpoint.startswith("http://"))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def server_interceptors() -> list[grpc.aio.ServerInterceptor]:
    """What makes each call that comes in a span; nothing where none are sent."""
    if not _is_on():
        return []
    from opentelemetry.instrumentation.grpc import aio_server_interceptor

    # The package has no types.
    intercept: Any = aio_server_interceptor
    return [intercept(filter_=_told())]


def client_interceptors() -> list[grpc.aio.ClientInterceptor]:
    """What makes each call that goes out a span, and tells the callee of it; nothing where none are sent."""
    if not _is_on():
        return []
    from opentelemetry.instrumentation.grpc import aio_client_interceptors

    intercept: Any = aio_client_interceptors
    return list(intercept(filter_=_told()))


def _is_on() -> bool:
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def _told() -> Any:
    from opentelemetry.instrumentation.grpc import filters

    untold: list[Any] = [filters.service_name(name) for name in _UNTOLD]
    untold += [filters.method_name(name) for name in _UNTOLD_METHODS]
    return filters.negate(filters.any_of(*untold))
