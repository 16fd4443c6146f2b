"""What can become of a request on its way to the API server."""

from dataclasses import dataclass

WRITES = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True)
class Passing:
    """One request on its way. ``number`` counts writes but those to Leases, from 1."""

    verb: str
    resource: str
    path: str
    number: int
    body: bytes

    @property
    def is_write(self) -> bool:
        return self.verb in WRITES.values()

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}"


@dataclass(frozen=True)
class Refuse:
    """It is answered here, and never gets there."""

    code: int
    reason: str
    retry_after_s: float | None = None


@dataclass(frozen=True)
class LoseReply:
    """It takes effect, and the connection breaks before anybody is told."""


@dataclass(frozen=True)
class Twice:
    """It is delivered two times, and answered by the second answer."""


@dataclass(frozen=True)
class Break:
    """The connection breaks, and it never gets there."""


@dataclass(frozen=True)
class Delay:
    """It gets there later."""

    seconds: float


@dataclass(frozen=True)
class Stall:
    """Nothing more is heard of it, and the connection stays open."""


Fault = Refuse | LoseReply | Twice | Break | Delay | Stall
