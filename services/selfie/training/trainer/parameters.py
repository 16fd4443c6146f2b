"""What one training is told: the JSON that the controller hands to the program, checked once."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, JsonValue, model_validator

from selfie.artifacts.manifests import Record
from selfie.artifacts.programs import Attempt
from selfie.method.choices import ThresholdReading
from selfie.runs.method_fields import Lora, PrecisionName, RefinementName, StartName

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Weights(Record):
    """A checkpoint: a file group of a step's manifest, and the digest that it must have."""

    run_uri: str = Field("", description="Root of the run that holds it; empty for the attempt's own run.")
    step: str = Field(min_length=1, description="Step whose manifest lists the files.")
    group: str = Field("checkpoint", description="File group in that manifest.")
    digest: Sha256 = Field(description="Digest over names and contents of the files.")


class Pairs(Record):
    """The pairs to train on: a file group of the very manifest that is meant."""

    path: str = Field(min_length=1, description="Path of the manifest under the run's root.")
    sha256: Sha256 = Field(description="SHA-256 of the manifest's bytes.")
    group: str = Field(min_length=1, description="File group in that manifest.")


class TrainingParameters(Record):
    """Parameters of the program; times in seconds, shares in percent where the name says so.

    The attempt's number and the last group of fields decide where and how fast it runs, the
    others what comes out.
    """

    attempt: Attempt
    kind: Literal["seed", "round"] = Field(description="Human preferences, or a round's self-made ones.")
    policy: Weights = Field(description="The policy before this training: its start and its reference.")
    initial_policy: StartName = Field("previous", description="`initial` starts from `initial` instead.")
    initial: Weights | None = Field(None, description="Start and reference with `initialPolicy` initial.")
    pairs: Pairs

    beta: float = Field(0.1, gt=0, le=100)
    learning_rate: float = Field(gt=0, le=1)
    epochs: int = Field(1, ge=1, le=1000)
    batch: int = Field(32, ge=1, le=65536, description="Pairs in one optimizer step, over all ranks.")
    warmup_ratio: float = Field(0.1, ge=0, lt=1, description="Share of the steps in which the rate rises.")
    scheduler: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    lora: Lora | None = None
    precision: PrecisionName = Field("float32", description="Of the products; weights and sums are float32.")
    random_seed: int = Field(0, ge=0, lt=2**32)
    max_steps: int = Field(0, ge=0, description="Stops after so many optimizer steps; 0 runs all epochs.")

    refinement: RefinementName = Field("online", description="Where noisy labels are found, if at all.")
    threshold: ThresholdReading = "quantile"
    smoothing: float = Field(0.1, ge=0, le=0.5, description="Weight of a noisy pair's other label.")
    noisy_percent: float = Field(10, ge=0, le=100)
    window: int = Field(0, ge=0, description="Pairs that the threshold looks back on; 0 takes the default.")
    warmup_percent: float = Field(20, ge=0, le=100, description="Share of the steps without noisy pairs.")
    lambda_: float = Field(0, alias="lambda", ge=0, le=16, description="Extrapolation of the noise detector.")

    micro_batch: int = Field(2, ge=1, description="Most pairs that are computed at once on one rank.")
    checkpoint_seconds: float = Field(300, gt=0, description="Time between checkpoints to go on from.")
    cache_dir: Path = Field(
        strict=False, description="Directory on this machine for weights and checkpoints."
    )
    threads: int = Field(0, ge=0, description="CPU threads; 0 leaves it to torch, which takes all cores.")

    @model_validator(mode="after")
    def _consistent(self) -> "TrainingParameters":
        if self.initial_policy == "initial" and self.initial is None:
            raise ValueError("initialPolicy `initial` needs the weights `initial`")
        return self

    @property
    def start(self) -> Weights:
        """Weights that the training starts from, and that its margins are measured against."""
        return self.initial if self.initial_policy == "initial" and self.initial is not None else self.policy

    def method(self) -> dict[str, JsonValue]:
        """What decides the outcome, as JSON: all but the attempt, and the place and pace of the work."""
        return self.model_dump(
            mode="json",
            by_alias=True,
            exclude={"attempt", "checkpoint_seconds", "cache_dir", "threads"},
        )
