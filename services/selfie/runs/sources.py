"""Where a run's model, data and artifacts come from."""

from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from selfie.runs.records import Int32, Record

_DATASET_ON_HUB = "hf://datasets/"


def _without_credentials(uri: str) -> str:
    _, scheme, rest = uri.partition("://")
    if scheme and ":" in rest.split("/", 1)[0].rpartition("@")[0]:
        raise PydanticCustomError(
            "uri",
            "holds a password",
            {"remedy": "take it out, and name the Secret that holds it in secretRef"},
        )
    return uri


def _names_a_file(uri: str) -> str:
    if not uri.startswith("hf://"):
        return uri
    parts = uri.removeprefix(_DATASET_ON_HUB).split("/", 2)
    if not uri.startswith(_DATASET_ON_HUB) or len(parts) < 3 or not all(parts):
        raise PydanticCustomError(
            "uri",
            "does not name a file of a data set",
            {"remedy": "write hf://datasets/ORG/NAME@REVISION/PATH"},
        )
    return uri


Uri: TypeAlias = Annotated[
    str,
    StringConstraints(min_length=1, max_length=1024, pattern=r"^\S+$"),
    AfterValidator(_without_credentials),
]
DatasetUri: TypeAlias = Annotated[Uri, AfterValidator(_names_a_file)]


class SecretRef(Record):
    """A Secret in the run's namespace; nothing but pods that need it ever reads it."""

    name: str = Field(
        min_length=1,
        max_length=253,
        pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$",
        description="Name of the Secret.",
    )


class ModelSource(Record):
    """A model that can be loaded: weights, tokenizer and chat template."""

    uri: Uri = Field(
        description="hf://ORG/NAME, file://, s3:// or gs:// URI, or a path relative to the run's file."
    )
    revision: str | None = Field(
        default=None,
        min_length=1,
        max_length=128,
        pattern=r"^\S+$",
        description="Commit, tag or branch on the hub; it is resolved to a commit once, at the start.",
    )
    secret_ref: SecretRef | None = Field(
        default=None, description="Secret with the credentials for the source."
    )


class PromptSlice(Record):
    """Consecutive prompts of a data set."""

    dataset: DatasetUri = Field(
        description="JSON Lines or Parquet file: a path relative to the run's file, a file://, s3:// "
        "or gs:// URI, or hf://datasets/ORG/NAME@REVISION/PATH."
    )
    from_: Int32 = Field(default=0, description="Number of prompts to pass over.")
    count: Int32 = Field(default=0, description="Number of prompts to take; 0 takes all that are left.")


class Artifacts(Record):
    """The store that holds all that a run makes."""

    uri: Uri | None = Field(
        default=None,
        description="Folder of all runs: s3://, gs:// or file:// URI; without it, "
        "the place that runs decides.",
    )
    secret_ref: SecretRef | None = Field(
        default=None, description="Secret with the credentials for the store."
    )
