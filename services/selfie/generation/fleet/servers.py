"""What is asked of one server of a fleet, whichever engine it runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from selfie.errors import FailedPrecondition
from selfie.generation.engines import EngineIdentity, Policy, Sample, SamplingParameters
from selfie.models.chat import ChatTokenizer, ids_digest


@dataclass(frozen=True, slots=True)
class Look:
    """What a server says about itself.

    ``permits`` is how many requests it may have at once. With ``named_by_request`` it
    serves whatever weights a request names, and tells by its answer that it did. ``moving`` is
    one that somebody is about to move, and that serves nobody until then.
    """

    identity: EngineIdentity
    permits: int
    named_by_request: bool = False
    moving: bool = False

    def serves(self, weights_digest: str) -> bool:
        """Whether samples of these weights, or of any if none are named, can be had of it."""
        if self.moving:
            return False
        return not weights_digest or self.named_by_request or self.identity.weights_digest == weights_digest


@dataclass(frozen=True)
class Wanted:
    """Samples that are wanted after one prompt, from one policy."""

    prompt_ids: tuple[int, ...]
    parameters: SamplingParameters
    policy: Policy

    @cached_property
    def key(self) -> bytes:
        """What stands for the prompt when replicas are chosen."""
        return bytes.fromhex(ids_digest(self.prompt_ids))

    @property
    def tokenizer(self) -> ChatTokenizer:
        """The policy's; `FailedPrecondition` ``TokenizerMissing`` where it is not known."""
        if self.policy.tokenizer is None:
            raise FailedPrecondition(
                "TokenizerMissing",
                "this engine's texts can't be held against the policy's tokenizer, which is not known here; "
                "start the service with --tokenizer DIR",
            )
        return self.policy.tokenizer

    @cached_property
    def text(self) -> str:
        """The prompt as an engine has to be given it that adds special tokens by itself.

        Raises `FailedPrecondition` ``PromptNotText`` if no text stands for these ids.
        """
        text = self.tokenizer.engine_text(self.prompt_ids)
        if text is None:
            raise FailedPrecondition(
                "PromptNotText",
                f"the engine takes text, and no text has the {len(self.prompt_ids)} ids of a prompt (one "
                "that was cut may begin inside a word); raise generation.maxPromptTokens, or use an engine "
                "that takes token ids",
            )
        return text


class Server(Protocol):
    """One server, at one address."""

    @property
    def where(self) -> str:
        """Its address, for people."""

    @property
    def most_seeds(self) -> int:
        """Samples of one prompt that one request may ask for."""

    async def look(self) -> Look:
        """Asks who it is; `Unavailable` if it is not ready."""

    async def check_prompt(self, wanted: Wanted) -> None:
        """Asks whether it reads the prompt as its ids say; once for each prompt.

        Raises `FailedPrecondition` ``PromptIdsDiffer`` if it does not.
        """

    async def draw(self, wanted: Wanted, seeds: Sequence[int]) -> list[Sample]:
        """One request: a sample for each seed, of which there are at most `most_seeds`."""

    async def load(self, directory: str, weights_digest: str) -> None:
        """Moves it to other weights where it stands.

        Raises `FailedPrecondition` ``CannotReload`` if it can't be: it is then started anew.
        """

    async def close(self) -> None:
        """Closes its connections."""
