"""Settings that every service has; each service adds its own to a subclass.

A subclass is read once, in the service's ``__main__``, from flags (``--metrics-port``) and the
environment (``SELFIE_METRICS_PORT``); nothing else in the process looks at either.
"""

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from selfie.tracing.settings import TracingSettings


class ServerSettings(TracingSettings):
    """Where a service listens and what it accepts."""

    model_config = SettingsConfigDict(
        env_prefix="SELFIE_", frozen=True, cli_kebab_case=True, cli_implicit_flags=True, extra="ignore"
    )

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(0, ge=0, le=65535, description="gRPC port; 0 takes a free one.")
    metrics_port: int = Field(0, ge=0, le=65535, description="Port of /metrics; 0 takes a free one.")
    http_port: int | None = Field(
        None, ge=0, le=65535, description="Port for the same methods over HTTP, in JSON; 0 takes a free one."
    )
    health_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port for gRPC's health alone, without TLS, for those who probe without certificates.",
    )
    tls_certificate: Path | None = Field(
        None, description="PEM file of the certificate to be known by; without it nothing is encrypted."
    )
    tls_key: Path | None = Field(None, description="PEM file of its key.")
    tls_client_authorities: Path | None = Field(
        None, description="PEM file of those who sign the certificates that callers must then have."
    )
    port_file: Path | None = Field(
        None, description="File that receives the ports, as JSON, once the service listens."
    )
    artifact_roots: tuple[str, ...] = Field(
        (), description="URIs below which the service may read and write; any other place is refused."
    )
    max_message_bytes: int = Field(4 * 1024 * 1024, ge=1024, description="Largest message, in bytes.")
    max_call_seconds: float = Field(
        3600, gt=0, description="Longest time for one call, in seconds, whatever its deadline says."
    )
    caller_calls_per_second: float | None = Field(
        None, gt=0, description="Calls a second that one caller may make."
    )
    caller_calls_at_once: int | None = Field(
        None, ge=1, description="Calls of one caller that may be in flight."
    )
    drain_seconds: float = Field(
        10, ge=0, description="Time that calls in flight get to finish on SIGTERM, in seconds."
    )
    lease_seconds: float = Field(
        30, gt=0, description="Age of a heartbeat at which its work is taken over, in seconds."
    )
    parent_pid: int | None = Field(
        None, description="Process to end with: the service drains when this one has ended."
    )
    callers: tuple[str, ...] = Field(
        (),
        description="Subjects of the service accounts that may call, such as "
        "system:serviceaccount:NAMESPACE:NAME; without any, everybody may.",
    )
    audience: str = Field("selfie.dev", description="Audience that the tokens of callers must have.")
    api_tokens: Path | None = Field(
        None, description="Directory with one file for each token that callers from outside may show."
    )
    api_server: str = Field(
        "https://kubernetes.default.svc", description="API server whose keys sign the tokens of callers."
    )
    api_credentials: Path = Field(
        Path("/var/run/secrets/kubernetes.io/serviceaccount"),
        description="Directory with the token and the ca.crt to read those keys with.",
    )
    reflection: bool = Field(True, description="Answer reflection, for grpcurl and the like.")
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="Least level logged.")
