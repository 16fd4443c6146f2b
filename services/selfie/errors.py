"""The one error tree of every Selfie process.

These errors know nothing of gRPC, Kubernetes or the command line: each of those maps them
once (`selfie.rpc.errors` for gRPC).

::

    SelfieError
    ├── InvalidInput         the caller can mend it: names the field and the remedy
    ├── NotFound             what was asked for is not there
    ├── AlreadyExists        somebody else created it first
    ├── FailedPrecondition   right request, wrong state: other weights served, parity broken
    │   └── OutOfDate        made from a state that has changed: look again, then ask again
    ├── Unauthenticated      who asks could not be established
    ├── PermissionDenied     who asks may not
    ├── Overloaded           try again later
    ├── Unavailable          a store, engine or service cannot be reached
    ├── DataCorrupted        bytes differ from their digest
    └── Cancelled            stopped on request; can go on later
"""


class SelfieError(Exception):
    """Base of all errors that Selfie raises on purpose.

    ``reason`` is a stable CamelCase word for machines; the message is for people.
    ``retryable`` says whether the same request may succeed later without being changed.
    """

    reason = "Internal"
    retryable = False


class InvalidInput(SelfieError):
    """A value given by the caller is wrong.

    ``field`` is the path of the value (``spec.rounds[0].lambda``), ``problem`` says what is
    wrong with it, and ``remedy`` what to write instead.
    """

    reason = "InvalidInput"

    def __init__(self, field: str, problem: str, remedy: str) -> None:
        super().__init__(f"{field}: {problem}; {remedy}")
        self.field = field
        self.problem = problem
        self.remedy = remedy


class NotFound(SelfieError):
    """What was asked for does not exist."""

    reason = "NotFound"


class AlreadyExists(SelfieError):
    """An exclusive creation found that the name is taken."""

    reason = "AlreadyExists"


class FailedPrecondition(SelfieError):
    """The request is right but the system is not in the state that it needs."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class OutOfDate(FailedPrecondition):
    """The request follows from a state that is not there any more, or not yet.

    Who asks looks again, and then finds something else to ask for, or asks for the same.
    """

    retryable = True

    def __init__(self, message: str) -> None:
        super().__init__("OutOfDate", message)


class Unauthenticated(SelfieError):
    """The caller has shown nothing, or nothing valid, to say who it is."""

    reason = "Unauthenticated"


class PermissionDenied(SelfieError):
    """The caller is known, and may not do this."""

    reason = "PermissionDenied"


class Overloaded(SelfieError):
    """Too much is being asked at once; ``retry_after_s`` is when to ask again, in seconds."""

    reason = "Overloaded"
    retryable = True

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unavailable(SelfieError):
    """A store, engine or service could not be reached."""

    reason = "Unavailable"
    retryable = True


class DataCorrupted(SelfieError):
    """Stored bytes are not those that their digest promises."""

    reason = "DataCorrupted"


class Cancelled(SelfieError):
    """The work was stopped on request; what it finished stays, and it can go on."""

    reason = "Cancelled"
    retryable = True
