"""Where a run's model, data and artifacts come from."""

import re
from collections.abc import Callable
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from selfie.runs.records import Int32, Record

VISIBLE = r"^[^\s\p{Cc}\p{Cf}\p{Z}]+$"
"""Text without blanks, control characters, and those that turn or hide what stands beside them."""

_DATASET_ON_HUB = "hf://datasets/"
_LOADED_BY_RUNNING_IT = re.compile(r"[.](bin|pt|pth|ckpt|pkl|pickle|joblib|py)$", re.IGNORECASE)


def _without_credentials(uri: str) -> str:
    _, scheme, rest = uri.partition("://")
    if scheme and ":" in rest.split("/", 1)[0].rpartition("@")[0]:
        raise PydanticCustomError(
            "uri",
            "holds a password",
            {"remedy": "take it out, and name the Secret that holds it in secretRef"},
        )
    return uri


def _in_one_of(*schemes: str) -> Callable[[str], str]:
    def check(uri: str) -> str:
        scheme, separator, _ = uri.partition("://")
        if separator and scheme not in schemes:
            known = ", ".join(f"{name}://" for name in schemes)
            raise PydanticCustomError(
                "uri", "has a scheme that nothing here reads", {"remedy": f"use {known}, or a path"}
            )
        return uri

    return check


def _is_only_data(uri: str) -> str:
    if _LOADED_BY_RUNNING_IT.search(uri):
        raise PydanticCustomError(
            "uri",
            "names a file that is loaded by running it",
            {"remedy": "give a directory with safetensors, or a file of JSON Lines or Parquet"},
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
    StringConstraints(min_length=1, max_length=1024, pattern=VISIBLE),
    AfterValidator(_without_credentials),
]
ModelUri: TypeAlias = Annotated[
    Uri, AfterValidator(_in_one_of("builtin", "hf", "file", "s3", "gs")), AfterValidator(_is_only_data)
]
DatasetUri: TypeAlias = Annotated[
    Uri,
    AfterValidator(_in_one_of("hf", "file", "s3", "gs")),
    AfterValidator(_is_only_data),
    AfterValidator(_names_a_file),
]
StoreUri: TypeAlias = Annotated[Uri, AfterValidator(_in_one_of("file", "s3", "gs"))]


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

    uri: ModelUri = Field(
        description="builtin://NAME, hf://ORG/NAME, file://, s3:// or gs:// URI, or a path relative to the "
        "run's file."
    )
    revision: str | None = Field(
        default=None,
        min_length=1,
        max_length=128,
        pattern=VISIBLE,
        description="Commit, tag or branch on the hub; it is resolved to a commit once, at the start.",
    )
    secret_ref: SecretRef | None = Field(
        default=None,
        description="Secret whose HF_TOKEN opens hf:// sources to `prepare` on a cluster; on one machine the "
        "environment's HF_TOKEN does.",
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

    uri: StoreUri | None = Field(
        default=None,
        description="Folder of all runs: s3://, gs:// or file:// URI; without it, "
        "the place that runs decides.",
    )
    secret_ref: SecretRef | None = Field(
        default=None,
        description="Secret with the credentials for the store. A cluster refuses it, as its release has its "
        "own; on one machine those of the environment count.",
    )
