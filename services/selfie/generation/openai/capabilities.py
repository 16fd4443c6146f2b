"""What a server can really do, found out by asking it for two tokens.

A server's name and version promise little: front ends drop fields, and plain ones ignore what
they don't know. So everything that is relied on is tried once, and what is missing is done
otherwise or refused by whoever needs it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from selfie.errors import InvalidInput, SelfieError
from selfie.generation.engines import EngineFault
from selfie.generation.openai.answers import Completion

Complete = Callable[[dict[str, Any]], Awaitable[Completion]]

_PROBE_IDS = [1, 2, 3]
_PROBE_TEXT = "a"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """``takes_ids``: prompts as token ids. ``gives_ids``: those that it sampled. ``gives_many``: ``n``."""

    takes_ids: bool
    gives_ids: bool
    gives_many: bool
    gives_logprobs: bool


async def ask_capabilities(complete: Complete, model: str) -> Capabilities:
    """Tries all at once, and one by one if that is refused.

    Raises what the server answers to a request that has nothing special in it.
    """
    plain = {"model": model, "prompt": _PROBE_TEXT, "max_tokens": 2, "temperature": 1.0}
    many: dict[str, Any] = {"n": 2}
    ids, logprobs = {"return_token_ids": True}, {"logprobs": 1}
    as_ids: dict[str, Any] = {"prompt": _PROBE_IDS}
    whole = await _tried(complete, plain | as_ids | ids | many | logprobs)
    if whole is not None:
        return Capabilities(_took_ids(whole), _gave_ids(whole), _gave_many(whole), _gave_logprobs(whole))
    await complete(plain)
    return Capabilities(
        takes_ids=_took_ids(await _tried(complete, plain | as_ids)),
        gives_ids=_gave_ids(await _tried(complete, plain | ids)),
        gives_many=_gave_many(await _tried(complete, plain | many)),
        gives_logprobs=_gave_logprobs(await _tried(complete, plain | logprobs)),
    )


async def _tried(complete: Complete, body: dict[str, Any]) -> Completion | None:
    """The answer, or None if the server will not have this request, or breaks on it."""
    try:
        return await complete(body)
    except (InvalidInput, EngineFault):
        return None
    except SelfieError as error:
        if error.reason == "EngineAnswerUnusable":
            return None
        raise


def _took_ids(answer: Completion | None) -> bool:
    return answer is not None and answer.usage is not None and answer.usage.prompt_tokens == len(_PROBE_IDS)


def _gave_ids(answer: Completion | None) -> bool:
    return answer is not None and all(choice.token_ids is not None for choice in answer.choices)


def _gave_many(answer: Completion | None) -> bool:
    return answer is not None and len(answer.choices) == 2


def _gave_logprobs(answer: Completion | None) -> bool:
    return answer is not None and all(choice.logprobs is not None for choice in answer.choices)
