"""Decimal numbers of a specification: strings, because no float survives every tool unchanged.

Kubernetes allows no floating point in a spec. The text is kept as it was written, so that a spec
reads back exactly; ``float(text)`` is its value.
"""

from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

PATTERN = r"^(0|[1-9][0-9]{0,11})(\.[0-9]{1,20})?([eE]-?[0-9]{1,2})?$"

Decimal: TypeAlias = Annotated[str, Field(max_length=24, pattern=PATTERN)]


@dataclass(frozen=True)
class Within:
    """Bounds of a `Decimal`: ``Annotated[Decimal, Within(0, 1)]``; ``above`` leaves the lower one out."""

    low: float
    high: float
    above: bool = False

    @property
    def words(self) -> str:
        """The bounds for people: ``from 0 to 1``."""
        return f"{'above' if self.above else 'from'} {self.low:g} to {self.high:g}"

    def check(self, text: str) -> str:
        """The text itself; refuses a value outside of the bounds."""
        value = float(text)
        if value > self.high or value < self.low or (self.above and value == self.low):
            raise PydanticCustomError("decimal_range", "is out of range", {"bounds": self.words})
        return text

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), "x-selfie-bounds": self.words}


def to_decimal(value: float) -> str:
    """The shortest text of a non-negative number that is a `Decimal`."""
    return format(value, ".12g").replace("e+", "e")
