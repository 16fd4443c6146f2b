"""Settings of the training controller."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from selfie.rpc.settings import ServerSettings


class TrainingSettings(ServerSettings):
    """Where jobs run and how they end."""

    backend: Literal["local", "kubernetes"] = Field(
        "local", description="What a job is: a process of this machine, or a Kubernetes Job."
    )
    poll_seconds: float = Field(0.5, gt=0, description="How often a watched job is looked at, in seconds.")

    state_dir: Path = Field(
        Path("~/.cache/selfie/jobs"),
        description="local: directory of this machine for locks, parameters and logs of jobs.",
    )
    grace_seconds: float = Field(
        20, ge=0, description="local: time a job gets to end before it is killed, in seconds."
    )
    nursery: Path | None = Field(
        None,
        description="local: socket of the process that starts trainers without waiting for imports, if any.",
    )
    leave_jobs: bool = Field(False, description="local: leave jobs running when the controller ends.")

    namespace: str | None = Field(
        None, description="kubernetes: the only namespace whose runs are served; without it, all are."
    )
    pods: Path | None = Field(None, description="kubernetes: YAML file with the release's settings of pods.")
    kubeconfig: Path | None = Field(
        None, description="kubernetes: file to reach the API server by; without it, the pod's own account."
    )
    api_qps: float = Field(
        50, gt=0, description="kubernetes: requests to the API server a second, on average."
    )
    api_burst: int = Field(100, ge=1, description="kubernetes: requests to the API server at once.")
    keep_seconds: float = Field(
        15, ge=0, description="kubernetes: how long a Job stays once it has ended and its end is recorded."
    )
    sweep_seconds: float = Field(
        20, gt=0, description="kubernetes: how often such Jobs are looked for, in seconds."
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.backend == "kubernetes" and self.pods is None:
            raise ValueError("backend kubernetes needs --pods FILE; the chart mounts it")
        return self
