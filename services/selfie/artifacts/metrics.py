"""What a process's stores do wrong, for Prometheus."""

from prometheus_client import Counter

from selfie.errors import AlreadyExists, NotFound, SelfieError

ERRORS = Counter(
    "selfie_store_errors",
    "Times that an artifact store could not be used; what is absent or there already is no error.",
    ["scheme", "reason"],
)


def count_error(place: str, error: SelfieError) -> None:
    """Counts what a store answered, unless it is an answer like any other."""
    if not isinstance(error, AlreadyExists | NotFound):
        ERRORS.labels(place.partition("://")[0], error.reason).inc()
