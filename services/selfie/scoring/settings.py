"""Settings of the scoring service's process."""

from pathlib import Path

from pydantic import Field

from selfie.rpc.settings import ServerSettings
from selfie.scoring.loading import Weights

_DIGEST = "^([0-9a-f]{64})?$"


class ScoringSettings(ServerSettings):
    """Which weights judge, and how much at a time."""

    policy: Path = Field(
        description="Checkpoint directory of the policy: safetensors, tokenizer, configuration."
    )
    policy_digest: str = Field(
        "", pattern=_DIGEST, description="Digest that the policy must have; empty takes its own."
    )
    reference: Path = Field(description="Checkpoint directory of the reference.")
    reference_digest: str = Field(
        "", pattern=_DIGEST, description="Digest that the reference must have; empty takes its own."
    )
    verify_weights: bool = Field(True, description="Compute the digests of the weights before they judge.")
    device: str = Field("cpu", description="Device of both models, for example cpu or cuda:0.")
    token_budget: int = Field(
        1024, ge=1, description="Tokens computed at once; a prompt with a longer response runs alone."
    )
    max_waiting_calls: int = Field(
        64, ge=1, description="Calls that may wait or run; beyond that they are refused as overload."
    )

    @property
    def policy_weights(self) -> Weights:
        """The policy to load."""
        return Weights(self.policy, self.policy_digest, verify=self.verify_weights)

    @property
    def reference_weights(self) -> Weights:
        """The reference to load."""
        return Weights(self.reference, self.reference_digest, verify=self.verify_weights)
