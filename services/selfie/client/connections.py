"""Where the scorer is, how to trust it, and what to show it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc

from selfie.errors import InvalidInput
from selfie.rpc.credentials import TokenFile

Metadata = tuple[tuple[str, str], ...]
Token = str | Path | Callable[[], str] | None

_State = tuple[tuple[int, int, int], ...]

_MAX_MESSAGE_BYTES = 64 * 1024 * 1024
OPTIONS = (
    # A headless service has many addresses, and every one of them answers alike.
    ("grpc.service_config", json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
)


@dataclass(frozen=True)
class Tls:
    """PEM files: whom to trust (the system's authorities if none is named), and what to be known by."""

    authorities: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """For a channel, from the files as they are now; InvalidInput if one can't be read."""
        if (self.certificate is None) != (self.key is None):
            raise InvalidInput("tls", "has a certificate or a key alone", "give both, or neither")
        try:
            return grpc.ssl_channel_credentials(
                *(None if path is None else Path(path).read_bytes() for path in self._paths())
            )
        except OSError as error:
            raise InvalidInput("tls", str(error), "name files in PEM") from error

    def state(self) -> _State:
        """What changes when a file does; nothing while one is not there."""
        try:
            found = [Path(path).stat() for path in self._paths() if path is not None]
        except OSError:
            return ()
        return tuple((each.st_mtime_ns, each.st_ino, each.st_size) for each in found)

    def _paths(self) -> tuple[Path | None, ...]:
        return (self.authorities, self.key, self.certificate)


@dataclass(frozen=True)
class Connection:
    """One scorer, as a caller knows it; a token in a file is read for each call."""

    address: str
    token: Token = None
    tls: Tls | None = None

    def metadata(self) -> Metadata:
        """What says who calls; `Unavailable` if a token file can't be read."""
        token = TokenFile(self.token) if isinstance(self.token, Path) else self.token
        if token is None:
            return ()
        return (("authorization", f"Bearer {token() if callable(token) else token}"),)

    def state(self) -> _State:
        """What a channel was made from: with another one, a new channel is needed."""
        return () if self.tls is None else self.tls.state()
