"""When the certificate that a process is known by runs out, for Prometheus."""

from pathlib import Path

from prometheus_client import Gauge

EXPIRY = Gauge(
    "selfie_certificate_expiry_timestamp_seconds", "When the certificate in use runs out.", ["certificate"]
)


def tell_expiry(certificate: Path) -> None:
    """Reads the first certificate of the file, which is the process's own.

    Without the package `cryptography`, which every image has, nothing is told.
    """
    try:
        from cryptography import x509
    except ImportError:
        return
    found = x509.load_pem_x509_certificate(certificate.read_bytes())
    EXPIRY.labels(str(certificate)).set(found.not_valid_after_utc.timestamp())
