"""Settings of the operator: flags (``--lease-name``) and the environment (``SELFIE_LEASE_NAME``)."""

import os
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import SettingsConfigDict

from selfie.kube.client import ClientSettings
from selfie.kube.transport import Access
from selfie.tracing.settings import TracingSettings
from selfie_operator.reconciling.settings import ReconcilingSettings

_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class OperatorSettings(ReconcilingSettings, TracingSettings):
    """What one operator process watches, how it takes turns with others, and how it asks."""

    model_config = SettingsConfigDict(
        env_prefix="SELFIE_", frozen=True, cli_kebab_case=True, cli_implicit_flags=True, extra="ignore"
    )

    namespace: str = Field("", description="Namespace whose runs it looks after; empty for all of them.")
    kubeconfig: Path | None = Field(
        None, description="Way to the API server; without it, the pod's service account is the way."
    )
    host: str = Field("127.0.0.1", description="Address of /healthz, /readyz and /metrics.")
    port: int = Field(8080, ge=0, le=65535, description="Port of the same; 0 takes a free one.")
    port_file: Path | None = Field(None, description="File that receives the port, as JSON.")

    workers: int = Field(32, ge=1, le=256, description="Runs that are looked at side by side.")
    reconcile_seconds: float = Field(120, gt=0, description="Longest time for one look at one run.")
    relist_seconds: float = Field(
        300, ge=1, description="Time after which everything is listed again, in case a watch lost something."
    )
    drain_seconds: float = Field(
        20, ge=0, description="Time that looks in progress get to finish on SIGTERM."
    )
    api_qps: float = Field(50, gt=0, description="Requests to the API server a second, on average.")
    api_burst: int = Field(100, ge=1, description="Requests to the API server at once.")
    api_seconds: float = Field(30, gt=0, description="Longest time for one request to the API server.")
    api_silence_seconds: float = Field(
        70, gt=0, description="Silence after which a watch is taken for dead; bookmarks come every minute."
    )

    lease_name: str = Field("selfie-operator", min_length=1, description="Lease that the leader holds.")
    lease_namespace: str = Field(
        "", description="Namespace of the Lease; empty for the pod's own, else the one that is watched."
    )
    identity: str = Field(
        "", description="What the Lease calls this process, with a random end; empty for the host name."
    )
    pod_uid: str = Field(
        "",
        description="UID of this process's pod, for that end: of one pod no two processes live at a time, "
        "so the next one goes on at once with the Lease of the last.",
    )
    lease_duration_seconds: float = Field(
        15, ge=1, description="Time after a leader's last sign of life at which another takes over."
    )
    lease_renew_seconds: float = Field(
        10, gt=0, description="Time after its last renewal at which a leader stops writing."
    )
    lease_retry_seconds: float = Field(2, gt=0, description="Time between two tries to get or renew it.")

    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="Least level logged.")

    @model_validator(mode="after")
    def _lease_times_are_in_order(self) -> Self:
        if not self.lease_retry_seconds < self.lease_renew_seconds < self.lease_duration_seconds:
            raise ValueError("lease_retry_seconds < lease_renew_seconds < lease_duration_seconds must hold")
        return self

    @property
    def client(self) -> ClientSettings:
        """How the API server is asked for everything but the Lease."""
        return ClientSettings(
            access=Access(kubeconfig=self.kubeconfig),
            agent=f"selfie-operator/{self._host()}",
            per_second=self.api_qps,
            burst=self.api_burst,
            request_s=self.api_seconds,
            silence_s=self.api_silence_seconds,
        )

    @property
    def lease_client(self) -> ClientSettings:
        """The same for the Lease: by connections and a limit of its own, so that nothing delays it."""
        return ClientSettings(
            access=Access(kubeconfig=self.kubeconfig),
            agent=f"selfie-operator-lease/{self._host()}",
            request_s=self.lease_renew_seconds / 2,
        )

    def lease_place(self) -> str:
        """Namespace of the Lease."""
        if self.lease_namespace:
            return self.lease_namespace
        own = _OWN_NAMESPACE.read_text().strip() if _OWN_NAMESPACE.exists() else ""
        return own or self.namespace or "default"

    def lease_identity(self) -> str:
        """Name of this process in the Lease; the same for no two processes that live at a time."""
        return f"{self._host()}_{self.pod_uid or os.urandom(6).hex()}"

    def _host(self) -> str:
        return self.identity or os.uname().nodename
