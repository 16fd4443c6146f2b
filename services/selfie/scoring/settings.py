"""Settings of the scoring service's process."""

from pathlib import Path

from pydantic import Field

from selfie.rpc.settings import ServerSettings
from selfie.scoring.calls import OnlineLimits
from selfie.scoring.places import Places
from selfie.scoring.precision import AnyMode

_DIGEST = "^([0-9a-f]{64})?$"


class ScoringSettings(ServerSettings):
    """Which weights judge, and how much at a time."""

    policy: str = Field(
        description="The policy: a checkpoint directory, builtin://NAME, hf://ORGANISATION/NAME, s3://… or gs://…"
    )
    policy_digest: str = Field(
        "", pattern=_DIGEST, description="Digest that the policy must have; empty takes its own."
    )
    reference: str = Field(description="The reference, in the same way.")
    reference_digest: str = Field(
        "", pattern=_DIGEST, description="Digest that the reference must have; empty takes its own."
    )
    calibration: Path | None = Field(
        None, description="File with a fit of these weights' margins to what people prefer."
    )
    verify_weights: bool = Field(True, description="Compute the digests of the weights before they judge.")
    precision: AnyMode = Field(
        "exact", description="Mode of calls that ask for none: exact, balanced, fast or auto."
    )
    prompt_cache_mib: int = Field(
        256, ge=0, description="Memory for prompts of online calls that may be asked about again, in MiB."
    )
    weights_prefixes: tuple[str, ...] = Field(
        (), description="URIs below which calls may name other weights; without any, none."
    )
    caller_weights: dict[str, tuple[str, ...]] = Field(
        {}, description="By the name of an API token, the URIs below which it may; without any, all of them."
    )
    weights_memory_mib: int = Field(4096, ge=0, description="Memory for such weights, in MiB.")
    device: str = Field("cpu", description="Device of both models, for example cpu or cuda:0.")
    token_budget: int = Field(
        1024, ge=1, description="Tokens of online calls computed at once; a longer response runs alone."
    )
    batch_token_budget: int = Field(
        2048, ge=1, description="Tokens of a data set computed at once, where no call waits for them."
    )
    max_waiting_calls: int = Field(
        64, ge=1, description="Calls that may wait or run; beyond that they are refused as overload."
    )
    max_call_tokens: int = Field(32_768, ge=1, description="Largest call, in tokens.")
    max_waiting_tokens: int = Field(
        131_072, ge=1, description="Tokens that may wait; beyond that calls are refused as overload."
    )
    remembered_tokens: int = Field(
        1_000_000, ge=0, description="Response tokens whose scores are kept for the next call."
    )

    @property
    def places(self) -> Places:
        """What other weights calls may name."""
        return Places(self.weights_prefixes, self.caller_weights)

    @property
    def online_limits(self) -> OnlineLimits:
        """What online calls may take."""
        return OnlineLimits(
            max_waiting_calls=self.max_waiting_calls,
            max_call_tokens=self.max_call_tokens,
            max_waiting_tokens=self.max_waiting_tokens,
            remembered_tokens=self.remembered_tokens,
        )
