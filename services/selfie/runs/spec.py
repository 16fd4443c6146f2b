"""The SelfieRun resource, `selfie.dev/v1alpha1`: one file for a cluster and for this machine."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from selfie.runs.combinations import impossible_combinations
from selfie.runs.evaluation_fields import Evaluation
from selfie.runs.method_fields import Filter, Generation, Round, Scoring, Seed, Training
from selfie.runs.operation_fields import OperationFields
from selfie.runs.records import LabelKey, LabelValue, Many, Record
from selfie.runs.sources import Artifacts, ModelSource, StoreUri

API_VERSION = "selfie.dev/v1alpha1"
KIND = "SelfieRun"


class MethodFields(Record):
    """The part of a specification that cannot change once the run has started."""

    model: ModelSource = Field(description="The supervised model that the run trains.")
    reference_model: ModelSource | None = Field(
        default=None, description="What the judge compares the policy with, where that is not `model`."
    )
    random_seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = Field(
        default=42, description="Every random choice of the run derives from it."
    )
    seed: Seed | None = Field(default=None, description="Round 0; may be absent only with a referenceModel.")
    rounds: Annotated[Many[Round], Field(min_length=1, max_length=100)] = Field(
        description="Rounds of self-made preferences; more may be added at the end while the run is active."
    )
    generation: Generation = Field(default_factory=Generation, description="How responses are drawn.")
    scoring: Scoring = Field(default_factory=Scoring, description="How responses to one prompt are judged.")
    filter: Filter = Field(default_factory=Filter, description="Which pairs are trained on.")
    training: Training = Field(default_factory=Training, description="How a policy is trained.")
    evaluation: Evaluation = Field(
        default_factory=Evaluation, description="What is measured after each round."
    )
    artifacts: Artifacts = Field(
        default_factory=Artifacts, description="Where all that the run makes is stored."
    )
    resume_from: StoreUri | None = Field(
        default=None,
        description="Root of another run; what it made from the same inputs is taken over, once verified.",
    )


class RunSpec(OperationFields, MethodFields):
    """What a run is to do (`MethodFields`), and how it is carried out (`OperationFields`)."""

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        violations = impossible_combinations(self)
        if violations:
            raise PydanticCustomError("impossible", "cannot be run", {"violations": violations})
        return self

    @property
    def hub_secrets(self) -> frozenset[str]:
        """Names of the Secrets with a token for the hub; a cluster's run has one at most."""
        models = (self.model, self.reference_model)
        return frozenset(model.secret_ref.name for model in models if model and model.secret_ref)


class Metadata(Record):
    """Name of a run, and what its users note about it."""

    name: str = Field(
        min_length=1,
        max_length=40,
        pattern=r"^[a-z]([a-z0-9-]*[a-z0-9])?$",
        description="Name of the run, and the beginning of the names of all that belongs to it.",
    )
    namespace: str = Field(
        default="default",
        max_length=63,
        pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
        description="Namespace of the run.",
    )
    labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=64)] = Field(
        default_factory=dict, description="Labels for finding the run."
    )
    annotations: Annotated[
        dict[LabelKey, Annotated[str, Field(max_length=262_144)]], Field(max_length=64)
    ] = Field(default_factory=dict, description="Notes for people and tools.")


class SelfieRun(Record):
    """A run: a seed of labelled preferences, then rounds of preferences that the model makes itself."""

    api_version: Literal["selfie.dev/v1alpha1"] = Field(description="Version of this resource.")
    kind: Literal["SelfieRun"] = Field(description="Kind of this resource.")
    metadata: Metadata = Field(description="Name and notes.")
    spec: RunSpec = Field(description="What the run does.")
