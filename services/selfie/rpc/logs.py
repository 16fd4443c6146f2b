"""Structured logs: one JSON object a line on standard error."""

import logging
import sys

import structlog

from selfie.tracing.attempts import present_span


def configure(service: str, level: str = "info") -> None:
    """Sends all logs of this process, those of libraries too, through one JSON renderer."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _with_trace,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    if level == "info":
        # A line for each request, of which a service may send a hundred a second.
        logging.getLogger("httpx2").setLevel(logging.WARNING)
    structlog.contextvars.bind_contextvars(service=service)


def _with_trace(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Names the trace that a line belongs to, by which its spans are found."""
    here = present_span()
    if here is not None:
        event["trace_id"] = f"{here.trace_id:032x}"
    return event
