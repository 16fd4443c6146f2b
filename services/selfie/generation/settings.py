"""Settings of the generation service's process."""

from pathlib import Path

from pydantic import Field

from selfie.generation.flow import Flow
from selfie.generation.http.clients import Access
from selfie.generation.retries import RetryLimits
from selfie.rpc.settings import ServerSettings
from selfie.runs.method_fields import EngineName


class GenerationSettings(ServerSettings):
    """Which engine is fronted, and how it is asked."""

    engine: EngineName = Field(
        "embedded",
        description="Kind of the engine: Selfie's own, Text Generation Inference, or a server that speaks "
        "OpenAI's completions, such as vLLM and SGLang.",
    )
    engine_address: str = Field(
        description="Address of the engine: 127.0.0.1:7001 for Selfie's own; http://NAME:PORT for others, "
        "where the name may stand for many replicas (a headless Service), or several with commas between "
        "them. {run} in it stands for the run that asks."
    )
    run_server_address: str = Field(
        "",
        description="Where each run's own TGI or OpenAI-compatible server is, as http://NAME-{run}:PORT: "
        "beside the engines of `engine_address`, for runs that ask for one of these kinds.",
    )
    run_scoring_address: str = Field(
        "",
        description="gRPC target of a run's scoring workers, with {run} in it where a cluster has many: what "
        "engines that are not Selfie's own say of themselves is held against them.",
    )
    engine_model: str = Field(
        "",
        description="openai: name of the model to ask for, where the server has several; with {digest} in "
        "it, each policy is asked for by a name or path of its own.",
    )
    engine_api_key_file: Path | None = Field(
        None, description="File with the engine's API key; without it none is sent."
    )
    engine_requests: int = Field(
        64, ge=1, description="openai: requests that one replica gets at once; TGI tells by itself."
    )
    token_file: Path | None = Field(
        None, description="File with the token that engines are shown; read again for each call."
    )
    tokenizer: Path | None = Field(
        None, description="Directory with the policy's tokenizer; without it chats are refused."
    )
    rows_per_call: int = Field(64, ge=1, le=4096, description="Most responses asked for in one call.")
    rows_at_once: int = Field(256, ge=1, description="Responses that batch work asks for at once.")
    call_timeout_s: float = Field(
        1800, gt=0, description="Time for one call to the engine, its wait in the queue included."
    )
    retry_attempts: int = Field(20, ge=1, description="Times that batch work asks an engine in trouble.")
    retry_seconds: float = Field(300, ge=0, description="Time after which it does not ask again.")

    @property
    def flow(self) -> Flow:
        """How much the engine is asked for at once."""
        return Flow(rows_per_call=self.rows_per_call, rows_at_once=self.rows_at_once)

    @property
    def retries(self) -> RetryLimits:
        """How long an engine in trouble is waited for."""
        return RetryLimits(attempts=self.retry_attempts, seconds=self.retry_seconds)

    @property
    def access(self) -> Access:
        """How an engine behind HTTP is asked; reads the key's file."""
        key = self.engine_api_key_file
        return Access(None if key is None else key.read_text().strip(), timeout_s=self.call_timeout_s)
