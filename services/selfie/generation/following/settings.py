"""Settings of the follower's process."""

from pathlib import Path

from pydantic import Field

from selfie.rpc.settings import ServerSettings


class FollowingSettings(ServerSettings):
    """Which engine is moved, and where its weights come from."""

    engine_address: str = Field(
        "http://127.0.0.1:8080", pattern="^http://", description="Address of the engine, in the same pod."
    )
    run_uri: str = Field(description="Root of the run whose weights the engine serves.")
    wanted: Path = Field(description="File that says which weights are wanted: the pod's annotation.")
    weights: Path = Field(description="Folder for the weights, which the engine sees at the same path.")
    first: bool = Field(
        False, description="Only wait for the first weights and fetch them, before there is an engine."
    )
    look_seconds: float = Field(2.0, gt=0, description="Time between two looks at what is wanted.")
    move_seconds: float = Field(1800, gt=0, description="Longest time for moving the engine once.")
