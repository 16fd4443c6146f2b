"""TLS from files that are renewed in place: every handshake finds the certificate that is there then.

A mounted Secret changes while the process runs, its files not quite at once. What does not fit together
is left alone, and the last that did serves on; a connection keeps the certificate that it began with.
"""

import ssl
import threading
from dataclasses import dataclass
from pathlib import Path

import grpc
import structlog

from selfie.errors import InvalidInput
from selfie.rpc.certificates import tell_expiry
from selfie.rpc.settings import ServerSettings

log = structlog.get_logger()

_State = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class TlsFiles:
    """PEM files; with ``client_authorities``, callers must show a certificate that one of them signed."""

    certificate: Path
    key: Path
    client_authorities: Path | None = None

    @classmethod
    def of(cls, settings: ServerSettings) -> "TlsFiles | None":
        """The files of a service; None without a certificate, InvalidInput for half of what is needed."""
        certificate, key = settings.tls_certificate, settings.tls_key
        if certificate is not None and key is not None:
            return cls(certificate, key, settings.tls_client_authorities)
        if certificate is None and key is None and settings.tls_client_authorities is None:
            return None
        missing = "--tls-certificate" if certificate is None else "--tls-key"
        raise InvalidInput(missing, "is missing", "give a certificate and its key, or neither")

    def state(self) -> _State:
        """What changes when a file does."""
        paths = (self.certificate, self.key, self.client_authorities)
        found = [path.stat() for path in paths if path is not None]
        return tuple((each.st_mtime_ns, each.st_ino, each.st_size) for each in found)

    def context(self) -> ssl.SSLContext:
        """What a server needs for a handshake, from the files as they are; OSError if they do not fit."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.certificate, self.key)
        if self.client_authorities is not None:
            context.load_verify_locations(self.client_authorities)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def configuration(self) -> grpc.ServerCertificateConfiguration:
        """The same for gRPC."""
        pair = (self.key.read_bytes(), self.certificate.read_bytes())
        roots = self.client_authorities.read_bytes() if self.client_authorities else None
        return grpc.ssl_server_certificate_configuration([pair], root_certificates=roots)


def server_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Credentials whose every handshake looks at the files; InvalidInput if they are no good at first."""
    watch = _Watch(files)

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        # Called in threads of gRPC's own; None is "as before".
        return watch.current.configuration if watch.renew() else None

    return grpc.dynamic_ssl_server_credentials(
        watch.current.configuration,
        renewed,  # type: ignore[arg-type] # its stubs do not know of None
        require_client_authentication=files.client_authorities is not None,
    )


def renewing_context(files: TlsFiles) -> ssl.SSLContext:
    """A context that hands each handshake to one made of the files as they are then."""
    watch = _Watch(files)
    outer = watch.current.context

    def choose(connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        watch.renew()
        connection.context = watch.current.context

    outer.sni_callback = choose
    return outer


@dataclass(frozen=True)
class _Reading:
    """Files that fit together, for either way; ``state`` tells whether they are still there."""

    state: _State
    context: ssl.SSLContext
    configuration: grpc.ServerCertificateConfiguration

    @classmethod
    def of(cls, files: TlsFiles) -> "_Reading":
        """OSError unless they fit, and stayed as they were meanwhile."""
        state = files.state()
        found = cls(state, files.context(), files.configuration())
        if files.state() != state:
            raise OSError("they are being renewed")
        tell_expiry(files.certificate)
        return found


class _Watch:
    """The last reading of the files that was good."""

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._lock = threading.Lock()
        try:
            self.current = _Reading.of(files)
        except OSError as error:
            problem = f"{files.certificate} and what belongs to it can't be used: {error}"
            remedy = "give PEM files of a certificate and its key"
            raise InvalidInput("--tls-certificate", problem, remedy) from error

    def renew(self) -> bool:
        """Reads the files again if they are others than before; whether they are, and good."""
        with self._lock:
            try:
                if self._files.state() == self.current.state:
                    return False
                self.current = _Reading.of(self._files)
            except OSError as error:
                log.warning("a renewed certificate can't be used yet", error=str(error))
                return False
            log.info("a renewed certificate is used from now on", certificate=str(self._files.certificate))
            return True
