"""The method's choices in a specification, with the paper's values as defaults (arXiv 2406.04412).

They cannot change once the run has started: what a round made would no longer say how.
"""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from selfie.method.choices import JudgeName, NormalizationName, PairingName, ThresholdReading
from selfie.runs.decimals import Decimal, Within
from selfie.runs.records import Int32, Record
from selfie.runs.sources import DatasetUri, PromptSlice

Beta: TypeAlias = Annotated[Decimal, Within(0, 100, above=True)]
Lambda: TypeAlias = Annotated[Decimal, Within(0, 16)]
LearningRate: TypeAlias = Annotated[Decimal, Within(0, 1, above=True)]
Epochs: TypeAlias = Annotated[int, Field(ge=1, le=1000)]
Percent: TypeAlias = Annotated[int, Field(ge=0, le=100)]
EngineName: TypeAlias = Literal["embedded", "tgi", "openai"]
MOST_NEW_TOKENS_OF_TGI = 1024
"""For more, TGI tokenises its own text and goes on from that, with the same seed and beyond the limit."""
ReferenceName: TypeAlias = Literal["initial", "previous", "none"]
NoiseActionName: TypeAlias = Literal["smooth", "drop", "keep"]
CutName: TypeAlias = Literal["dropCutResponses", "dropCutWinners", "dropBothCut", "keep"]
KeepName: TypeAlias = Literal["drop", "keep"]
RefinementName: TypeAlias = Literal["online", "offline", "none"]
StartName: TypeAlias = Literal["previous", "initial"]
PairsName: TypeAlias = Literal["selfMade", "seed"]
PrecisionName: TypeAlias = Literal["float32", "bfloat16"]


class Seed(Record):
    """Round 0: preferences that people labelled."""

    dataset: DatasetUri = Field(description="Labelled pairs to train on.")
    heldout: DatasetUri | None = Field(
        default=None,
        description="Labelled pairs that are never trained on; the judge of every round is measured on them.",
    )
    heldout_size: Int32 = Field(default=0, description="Number of held-out pairs to use; 0 uses all.")
    size: Int32 = Field(default=0, description="Number of pairs to train on; 0 uses all.")
    epochs: Epochs = Field(default=3, description="Passes over the pairs.")
    learning_rate: LearningRate = Field(default="5e-7", description="Peak learning rate of this round.")


class Round(Record):
    """One round of self-made preferences."""

    prompts: PromptSlice = Field(description="Prompts of this round; fresh ones every round.")
    learning_rate: LearningRate | None = Field(
        default=None, description="Peak learning rate; default training.learningRate."
    )
    epochs: Epochs | None = Field(
        default=None, description="Passes over the round's pairs; default training.epochs."
    )
    lambda_: Lambda | None = Field(
        default=None,
        description="How far the model that finds noisy pairs is extrapolated beyond the one that learns; "
        "default 0.5 in round 1, then half of the round before.",
    )


class Generation(Record):
    """How responses are drawn from the policy."""

    engine: EngineName = Field(default="embedded", description="What serves the policy's weights.")
    samples_per_prompt: int = Field(default=2, ge=2, le=64, description="Responses to each prompt.")
    temperature: Annotated[Decimal, Within(0, 10, above=True)] = Field(
        default="0.7", description="Sampling temperature."
    )
    top_p: Annotated[Decimal, Within(0, 1, above=True)] = Field(
        default="1.0", description="Nucleus mass; 1.0 keeps all."
    )
    max_new_tokens: int = Field(default=300, ge=1, le=32768, description="Longest response, in tokens.")
    max_prompt_tokens: int = Field(
        default=1024,
        ge=1,
        le=131072,
        description="Longest prompt, in tokens; a longer one is cut once, from the left.",
    )
    allow_retokenized: bool = Field(
        default=False,
        description="Accept an engine that gives back text alone, whose token ids are then made again.",
    )


class Scoring(Record):
    """How responses are judged."""

    judge: JudgeName = Field(default="implicit", description="What decides which response is preferred.")
    beta: Beta = Field(
        default="0.1", description="Scale of the implicit reward; never changes which response is preferred."
    )
    reference: ReferenceName = Field(
        default="initial", description="What the policy's log-probabilities are compared with."
    )
    lambda_: Lambda | None = Field(
        default=None,
        description="Extrapolation of the judge's second confidence; default the round's lambda, "
        "and 0 without a reference.",
    )
    pairing: PairingName = Field(
        default="best_worst", description="Which responses to one prompt make its pair."
    )
    length_normalization: NormalizationName = Field(
        default="sum",
        description="Log-ratios summed over the response's tokens, or their mean, which favours no length.",
    )


class Filter(Record):
    """Which self-made pairs are trained on, and how far each is trusted."""

    noisy_percent: Percent = Field(default=10, description="Share of pairs taken to be noisy, in percent.")
    smoothing: Annotated[Decimal, Within(0, 0.5)] = Field(
        default="0.1", description="Weight of a noisy pair's other label."
    )
    action: NoiseActionName = Field(
        default="smooth", description="What happens to a pair that is taken to be noisy."
    )
    cut: CutName = Field(
        default="dropCutResponses",
        description="What becomes of responses cut by the limit: none is paired, or pairs are left out "
        "whose winner is cut, or both are, or no pair is.",
    )
    ties: KeepName = Field(default="drop", description="Pairs whose margin is within the judge's own error.")
    duplicates: KeepName = Field(
        default="drop", description="Further pairs of a prompt that was already seen."
    )
    window: Annotated[int, Field(ge=0, le=65536)] = Field(
        default=0,
        description="Pairs that the online threshold looks back on; 0 takes a quarter of the round's, "
        "at most 512.",
    )
    warmup_percent: Percent = Field(
        default=20,
        description="Share of a round's optimizer steps before any pair is taken to be noisy, in percent.",
    )


class Lora(Record):
    """Train low-rank adapters in place of all weights; they are merged when published."""

    rank: int = Field(default=16, ge=1, le=1024, description="Rank of the adapters.")
    alpha: int = Field(default=32, ge=1, le=8192, description="Scale of the adapters, divided by the rank.")


class Training(Record):
    """How a policy is trained on its pairs."""

    beta: Beta = Field(default="0.1", description="Temperature of the preference loss.")
    learning_rate: LearningRate = Field(default="5e-7", description="Peak learning rate of a round.")
    epochs: Epochs = Field(default=1, description="Passes over a round's pairs.")
    batch: int = Field(
        default=32, ge=1, le=65536, description="Pairs in one optimizer step, over all devices."
    )
    lora: Lora | None = Field(
        default=None, description="Low-rank adapters; without it, all weights are trained."
    )
    pairs: PairsName = Field(
        default="selfMade",
        description="What a round trains on: the pairs that it makes, or, as a control, the seed's again "
        "in as many steps as it has prompts for.",
    )
    refinement: RefinementName = Field(
        default="online",
        description="Where noisy pairs are found: while training, before it by the filter, or nowhere.",
    )
    threshold: ThresholdReading = Field(
        default="quantile",
        description="How the online threshold is read: independent of batches, or as the paper's code.",
    )
    initial_policy: StartName = Field(default="previous", description="What a round's training starts from.")
    precision: PrecisionName = Field(
        default="float32",
        description="What the factors of the trainer's products are rounded to; weights, sums and "
        "checkpoints are float32 all the same, and so is the judge.",
    )
