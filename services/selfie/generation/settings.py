"""Settings of the generation service's process."""

from pathlib import Path

from pydantic import Field

from selfie.generation.flow import Flow
from selfie.generation.retries import RetryLimits
from selfie.rpc.settings import ServerSettings


class GenerationSettings(ServerSettings):
    """Which engine is fronted, and how it is asked."""

    engine_address: str = Field(
        description="Address of the engine, for example 127.0.0.1:7001; {run} in it stands for the "
        "key of the run that is sampled for, where each run has an engine of its own."
    )
    token_file: Path | None = Field(
        None, description="File with the token that engines are shown; read again for each call."
    )
    tokenizer: Path | None = Field(
        None, description="Directory with the policy's tokenizer; without it chats are refused."
    )
    rows_per_call: int = Field(64, ge=1, le=4096, description="Most responses asked for in one call.")
    rows_at_once: int = Field(256, ge=1, description="Responses that batch work asks for at once.")
    call_timeout_s: float = Field(
        1800, gt=0, description="Time for one call to the engine, its wait in the queue included."
    )
    retry_attempts: int = Field(20, ge=1, description="Times that batch work asks an engine in trouble.")
    retry_seconds: float = Field(300, ge=0, description="Time after which it does not ask again.")

    @property
    def flow(self) -> Flow:
        """How much the engine is asked for at once."""
        return Flow(rows_per_call=self.rows_per_call, rows_at_once=self.rows_at_once)

    @property
    def retries(self) -> RetryLimits:
        """How long an engine in trouble is waited for."""
        return RetryLimits(attempts=self.retry_attempts, seconds=self.retry_seconds)
