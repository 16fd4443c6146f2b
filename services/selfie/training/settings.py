"""Settings of the training controller."""

from pathlib import Path

from pydantic import Field

from selfie.rpc.settings import ServerSettings


class TrainingSettings(ServerSettings):
    """Where jobs run and how they end."""

    state_dir: Path = Field(
        Path("~/.cache/selfie/jobs"),
        description="Directory of this machine for locks, parameters and logs of jobs.",
    )
    grace_seconds: float = Field(
        20, ge=0, description="Time a job gets to end before it is killed, in seconds."
    )
    poll_seconds: float = Field(0.5, gt=0, description="How often a watched job is looked at, in seconds.")
    nursery: Path | None = Field(
        None, description="Socket of the process that starts trainers without waiting for imports, if any."
    )
    leave_jobs: bool = Field(False, description="Leave jobs running when the controller ends.")
