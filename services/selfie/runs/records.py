"""How every part of a SelfieRun is shaped: frozen, strict, camelCase outside, nothing unknown.

Strict, because a cluster's API server does not turn ``"8"`` into 8 either, and one file has to
mean the same in both places.
"""

from typing import Annotated, TypeAlias, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

_T = TypeVar("_T")


def _outside(name: str) -> str:
    # Names that Python keeps for itself end in an underscore here: lambda_, from_.
    return to_camel(name.rstrip("_"))


class Record(BaseModel):
    """A frozen part of a resource; outside it has camelCase keys, in Python the field's own names."""

    model_config = ConfigDict(
        alias_generator=_outside,
        validate_by_name=True,
        validate_by_alias=True,
        frozen=True,
        strict=True,
        extra="forbid",
        allow_inf_nan=False,
    )


# A YAML list arrives as a Python list, which strict mode would refuse for a tuple; what it holds
# stays strict.
Many: TypeAlias = Annotated[tuple[_T, ...], Field(strict=False)]

# In JSON a time is text, which strict mode would refuse for one.
Time: TypeAlias = Annotated[AwareDatetime, Field(strict=False)]

Int32: TypeAlias = Annotated[int, Field(ge=0, le=2**31 - 1)]
LabelKey: TypeAlias = Annotated[
    str,
    StringConstraints(
        max_length=317, pattern=r"^([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$"
    ),
]
LabelValue: TypeAlias = Annotated[
    str, StringConstraints(max_length=63, pattern=r"^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$")
]


class StatusRecord(Record):
    """A part of a status; what a newer version wrote there is passed over."""

    model_config = ConfigDict(extra="ignore")
