"""Status of a SelfieRun: what the last look found, small enough for a cluster's object.

It is derived from the manifests wherever it can be, so that a lost status costs nothing but
times. What cannot be derived and is therefore kept: attempts, failures, times, and the end.
"""

from typing import Annotated, Any, TypeAlias

from pydantic import Field

from selfie.runs import reasons
from selfie.runs.conditions import MAX_MESSAGE, Condition, condition_of, has_status
from selfie.runs.records import Many, StatusRecord, Time

MAX_ROUNDS = 20
"""Newest rounds in a status; the store has them all."""

MAX_ATTEMPTS = 10_000

RoundNumber: TypeAlias = Annotated[int, Field(ge=0, le=1000)]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]
Count: TypeAlias = Annotated[int, Field(ge=0, le=2**63 - 1)]
Text: TypeAlias = Annotated[str, Field(max_length=MAX_MESSAGE)]
Digest: TypeAlias = Annotated[str, Field(max_length=128)]


class Checkpoint(StatusRecord):
    """A published policy."""

    step: str = Field(max_length=128, description="Step whose manifest names its files.")
    digest: Digest = Field(description="Digest of its weights.")


class Accuracy(StatusRecord):
    """Share of held-out pairs on which the judge agrees with people; a tie counts half."""

    value: Share = Field(description="The share, by the judge as the run sets it.")
    low: Share | None = Field(default=None, description="Lower end of its 95 % interval.")
    high: Share | None = Field(default=None, description="Upper end of its 95 % interval.")
    mean: Share | None = Field(default=None, description="The share with log-ratios averaged over tokens.")
    n: Count | None = Field(default=None, description="Number of pairs.")


class RoundStatus(StatusRecord):
    """What is known of one round; round 0 is the seed."""

    round: RoundNumber = Field(description="Its number.")
    policy_round: RoundNumber | None = Field(default=None, description="Round whose policy made its samples.")
    counts: Annotated[dict[str, Count], Field(max_length=16)] = Field(
        default_factory=dict, description="Pairs by what the filter did with them."
    )
    noisy_share: Share | None = Field(default=None, description="Pairs taken to be noisy by the filter.")
    loss: float | None = Field(default=None, description="Training loss at the end.")
    online_noisy_share: Share | None = Field(default=None, description="Pairs softened while training.")
    online_noisy_pairs: Count | None = Field(default=None, description="The same as a number.")
    accuracy: Accuracy | None = Field(default=None, description="The judge on the held-out pairs.")
    mean_length: float | None = Field(default=None, description="Mean length of responses, in tokens.")
    divergence: float | None = Field(default=None, description="From the initial model, in nats a token.")
    finished_share: Share | None = Field(default=None, description="Responses that end by themselves.")
    duplicate_share: Share | None = Field(default=None, description="Responses that repeat another one.")
    empty_share: Share | None = Field(default=None, description="Responses without text.")
    checkpoint: Checkpoint | None = Field(default=None, description="Its published policy.")
    breaches: Annotated[Many[Annotated[str, Field(max_length=256)]], Field(max_length=8)] = Field(
        default=(), description="Gates it crossed."
    )


class BestRound(StatusRecord):
    """The round with the highest held-out accuracy among those that crossed no gate."""

    round: RoundNumber = Field(description="Its number.")
    step: str = Field(max_length=128, description="Step whose manifest names its checkpoint.")
    digest: Digest = Field(description="Digest of its weights.")
    accuracy: Share = Field(description="What it was chosen by.")


class Failures(StatusRecord):
    """Failed attempts at the present step; the pause before the next one is computed from them."""

    count: Annotated[int, Field(ge=0, le=MAX_ATTEMPTS)] = Field(description="How many attempts failed.")
    attempt: Annotated[int, Field(ge=0, le=MAX_ATTEMPTS)] = Field(description="The last one that failed.")
    last_failure_time: Time = Field(description="When that was seen.")
    reason: str = Field(default="", max_length=128, description="Why, for machines.")
    message: Text = Field(default="", description="Why, for people, with the log's last lines.")
    retryable: bool = Field(default=True, description="Whether another attempt could succeed.")


class RunStatus(StatusRecord):
    """All that is known of a run. An empty one is a run that nobody has looked at yet."""

    observed_generation: Annotated[int, Field(ge=0)] = Field(default=0, description="Spec looked at.")
    conditions: Annotated[Many[Condition], Field(max_length=16)] = Field(
        default=(), description="What holds."
    )
    reason_since: Time | None = Field(default=None, description="Since when the present reason holds.")
    round: RoundNumber = Field(default=0, description="Present round; 0 is the seed.")
    stage: str | None = Field(default=None, max_length=32, description="Present stage.")
    step: str | None = Field(default=None, max_length=128, description="Present step, by its path.")
    progress: str = Field(default="", max_length=32, description="Steps published, of all: 5/21.")
    fraction: Share = Field(default=0.0, description="The same, with the present step's own progress.")
    progress_time: Time | None = Field(default=None, description="When progress was last written.")
    eta_seconds: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="Estimate of what is left."
    )
    attempt: Annotated[int, Field(ge=0, le=MAX_ATTEMPTS)] = Field(
        default=0, description="Attempt at the step, from 1."
    )
    restarts: Count = Field(
        default=0, description="Starts of this attempt's pods or processes after the first."
    )
    failures: Failures | None = Field(default=None, description="Failed attempts at the present step.")
    start_time: Time | None = Field(default=None, description="When the run was first looked at.")
    stage_start_time: Time | None = Field(default=None, description="When the present stage began.")
    completion_time: Time | None = Field(default=None, description="When the run ended.")
    paused_since: Time | None = Field(default=None, description="Since when deadlines do not run.")
    paused_seconds: Annotated[float, Field(ge=0)] = Field(default=0.0, description="Such time before that.")
    stage_paused_seconds: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="The part of `pausedSeconds` from before the present stage."
    )
    rounds: Annotated[Many[RoundStatus], Field(max_length=MAX_ROUNDS)] = Field(
        default=(), description="The newest rounds, in order."
    )
    best: BestRound | None = Field(default=None, description="The best round so far.")

    @property
    def is_terminal(self) -> bool:
        """Whether the run has ended for good."""
        return any(has_status(self.conditions, kind, "True") for kind in ("Complete", "Failed"))


def derived_reason(status: RunStatus) -> str:
    """One word for people: `Generating`, `Suspended`, `Completed`, `RetriesExhausted` …"""
    entry = condition_of(status.conditions, "Succeeded")
    return entry.reason if entry else reasons.PENDING


def derived_message(status: RunStatus) -> str:
    """One sentence for people on how the run stands."""
    entry = condition_of(status.conditions, "Succeeded")
    return entry.message if entry else ""


def object_of_status(status: RunStatus) -> dict[str, Any]:
    """The status as plain data with camelCase keys, for a cluster's API or a JSON file."""
    return status.model_dump(mode="json", by_alias=True, exclude_none=True)


def status_from_object(data: object) -> RunStatus:
    """The status in plain data; an absent one is empty."""
    return RunStatus.model_validate(data or {})
