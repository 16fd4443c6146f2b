"""Settings of the engine's process."""

from pathlib import Path

from pydantic import Field

from selfie.engine.batching import Limits
from selfie.engine.loading import Checkpoint
from selfie.models.loading import Dtype
from selfie.rpc.settings import ServerSettings


class EngineSettings(ServerSettings):
    """What the engine serves, and how much at a time."""

    weights: Path = Field(description="Checkpoint directory: safetensors, tokenizer, configuration.")
    weights_digest: str = Field(
        "",
        pattern="^([0-9a-f]{64})?$",
        description="Digest that the directory must have; empty takes its own.",
    )
    verify_weights: bool = Field(True, description="Compute the directory's digest before it is served.")
    dtype: Dtype = Field("float32", description="Number format of weights and products.")
    max_batch_rows: int = Field(128, ge=1, le=4096, description="Most responses decoded together.")
    max_batch_tokens: int = Field(
        32_768,
        ge=1,
        description="Prompt and response tokens decoded together; bounds the memory of the cache.",
    )
    max_queued_rows: int = Field(
        4096, ge=1, description="Responses that may wait; beyond that calls are refused as overload."
    )

    @property
    def checkpoint(self) -> Checkpoint:
        """What to load."""
        return Checkpoint(
            directory=self.weights, digest=self.weights_digest, dtype=self.dtype, verify=self.verify_weights
        )

    @property
    def limits(self) -> Limits:
        """How much at a time."""
        return Limits(
            rows=self.max_batch_rows, tokens=self.max_batch_tokens, queued_rows=self.max_queued_rows
        )
