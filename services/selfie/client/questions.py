"""From Python's own values to requests."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypeAlias, TypedDict

from selfie.errors import InvalidInput
from selfie.v1 import artifacts_pb2, scoring_pb2

Prompt: TypeAlias = str | Sequence[Mapping[str, str]] | Sequence[int]
"""A user's text, a chat as ``{"role": …, "content": …}`` turns, or token ids."""

Response: TypeAlias = str | Sequence[int]
"""The text of an assistant's turn, or token ids."""


class Options(TypedDict, total=False):
    """What may be asked for; see `ScoringOptions` in the protos. What is left out is the service's choice."""

    beta: float
    normalization: Literal["sum", "mean"]
    lambdas: Iterable[float]
    per_token: bool
    truncation: Literal["fail", "prompt_start", "response_end"]
    tie_margin: float
    precision: Literal["exact", "balanced", "fast", "auto"]
    weights: tuple[str, str]


def score_request(
    prompt: Prompt, responses: Iterable[Response], options: Options
) -> scoring_pb2.ScoreRequest:
    """Asks for the score of each response."""
    return scoring_pb2.ScoreRequest(
        prompt=_prompt(prompt), responses=map(_response, responses), options=_options(options)
    )


def rank_request(prompt: Prompt, responses: Iterable[Response], options: Options) -> scoring_pb2.RankRequest:
    """Asks for the responses' order."""
    return scoring_pb2.RankRequest(
        prompt=_prompt(prompt), responses=map(_response, responses), options=_options(options)
    )


def compare_request(
    prompt: Prompt, first: Response, second: Response, options: Options
) -> scoring_pb2.CompareRequest:
    """Asks which of two is preferred."""
    return scoring_pb2.CompareRequest(
        prompt=_prompt(prompt), first=_response(first), second=_response(second), options=_options(options)
    )


def _prompt(prompt: Prompt) -> scoring_pb2.PromptInput:
    if isinstance(prompt, str):
        return scoring_pb2.PromptInput(text=prompt)
    found = scoring_pb2.PromptInput()
    for part in prompt:
        if isinstance(part, int):
            found.prompt_ids.append(part)
        else:
            found.messages.append(artifacts_pb2.Message(role=part["role"], content=part["content"]))
    return found


def _response(response: Response) -> scoring_pb2.ResponseInput:
    if isinstance(response, str):
        return scoring_pb2.ResponseInput(text=response)
    return scoring_pb2.ResponseInput(response_ids=response)


def _options(options: Options) -> scoring_pb2.ScoringOptions:
    found = scoring_pb2.ScoringOptions()
    for name, value in options.items():
        if name not in scoring_pb2.ScoringOptions.DESCRIPTOR.fields_by_name:
            known = ", ".join(scoring_pb2.ScoringOptions.DESCRIPTOR.fields_by_name)
            raise InvalidInput(name, "is no option", f"use one of {known}")
        if name == "lambdas":
            found.lambdas.extend(options["lambdas"])
        elif name == "weights":
            found.weights.policy, found.weights.reference = options["weights"]
        else:
            setattr(found, name, _named(name, value))
    return found


def _named(name: str, value: object) -> object:
    """The number of an enum's value, by the short name that it has here; other values as they are."""
    enum = scoring_pb2.ScoringOptions.DESCRIPTOR.fields_by_name[name].enum_type
    if enum is None:
        return value
    full = f"{name}_{value}".upper()
    if full not in enum.values_by_name:
        short = [each.name.partition("_")[2].lower() for each in enum.values[1:]]
        raise InvalidInput(name, f"is {value!r}", f"use one of {', '.join(short)}")
    return enum.values_by_name[full].number
