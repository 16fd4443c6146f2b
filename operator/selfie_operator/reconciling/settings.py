"""What the operator is told of the release: where the shared services are, and where runs may lie."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings


class ReconcilingSettings(BaseSettings):
    """The part of the operator's settings that has to do with runs."""

    generation_address: str = Field(
        "dns:///selfie-generation:50051", description="gRPC target of the generation service."
    )
    filtering_address: str = Field(
        "dns:///selfie-filtering:50051", description="gRPC target of the filtering service."
    )
    training_address: str = Field(
        "dns:///selfie-training:50051", description="gRPC target of the training controller."
    )
    run_service_address: str = Field(
        "dns:///{name}.{namespace}:50051",
        pattern=r"^[^{}]*\{name\}[^{}]*(\{namespace\}[^{}]*)?$",
        description="gRPC target of a run's own engine or scoring workers, by their Service.",
    )
    token_file: Path | None = Field(
        None, description="Token that is shown to services, read for each call; without it, none is."
    )
    call_seconds: float = Field(15, gt=0, description="Longest time for one call to a service.")
    artifacts_root: str = Field(
        "file:///var/lib/selfie/artifacts",
        pattern=r"^[a-z0-9]+://.+$",
        description="Folder of all runs that name none of their own.",
    )
    artifact_roots: tuple[str, ...] = Field(
        (), description="Further folders that runs may name for their artifacts, and take over others' from."
    )
    sources_root: str = Field(
        "file:///usr/share/selfie/examples",
        pattern=r"^[a-z0-9]+://.+$",
        description="What the relative data sets and models of a run are relative to.",
    )
    pods: Path = Field(
        Path("/etc/selfie/pods.yaml"), description="What the chart says about the pods of runs, as YAML."
    )
    max_active_runs: int | None = Field(
        None, ge=1, description="Runs that are active at a time; the others wait. Without it, all are."
    )

    @property
    def all_artifact_roots(self) -> tuple[str, ...]:
        """Every folder in which artifacts of runs may lie."""
        return (self.artifacts_root, *self.artifact_roots)
