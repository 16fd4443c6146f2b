"""Where a process sends its spans, and how many of them."""

from typing import Self

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from selfie.errors import InvalidInput


class TracingSettings(BaseSettings):
    """Fields of the settings of every process that can be traced; ``SELFIE_TRACES_ENDPOINT`` is one."""

    model_config = SettingsConfigDict(env_prefix="SELFIE_", frozen=True, extra="ignore")

    traces_endpoint: str | None = Field(
        default=None,
        pattern=r"^https?://[^/\s]+$",
        description="Collector of OpenTelemetry that gets spans by OTLP over gRPC, such as "
        "http://collector:4317; without it none are made.",
    )
    traces_ratio: float = Field(
        default=1,
        ge=0,
        le=1,
        description="Share of traces that are sent; all processes choose the same ones.",
    )

    @classmethod
    def of_environment(cls) -> Self:
        """For a command that has no flags for them; `InvalidInput` names the variable that is wrong."""
        try:
            return cls()
        except ValidationError as error:
            first = error.errors()[0]
            variable = f"SELFIE_{'.'.join(map(str, first['loc'])).upper()}"
            remedy = "unset it, or see docs/monitoring.md for what it takes"
            raise InvalidInput(variable, first["msg"], remedy) from error
