"""What `selfie score` does: a request from flags, its answer, and the answer as a table."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from rich.console import Console
from rich.table import Table

from selfie.client.questions import Options, rank_request
from selfie.errors import InvalidInput
from selfie.models.cache import default_cache
from selfie.rpc.guards import violations
from selfie.v1 import scoring_pb2

_SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class Place:
    """Where the weights are: at a scorer's address, or on this machine."""

    address: str | None
    token_file: Path | None
    authorities: Path | None
    policy: str | None
    reference: str | None
    device: str


def chat_of(prompt: str | None, messages: Path | None) -> Any:
    """What was said: a user's text, or a chat; InvalidInput unless it is one of them."""
    if (prompt is None) == (messages is None):
        raise InvalidInput("--prompt", "and --messages: both or none are given", "give one of them")
    if messages is None:
        return prompt
    try:
        turns = json.loads(messages.read_bytes())
        return [{"role": str(turn["role"]), "content": str(turn["content"])} for turn in turns]
    except (OSError, ValueError, TypeError, KeyError) as error:
        remedy = 'write a JSON list of {"role": …, "content": …}'
        raise InvalidInput("--messages", f"{messages} holds no chat: {error!r}", remedy) from error


def request_of(prompt: Any, responses: list[str], options: Mapping[str, Any]) -> scoring_pb2.RankRequest:
    """The request that these flags make; InvalidInput for one out of bounds."""
    request = rank_request(prompt, responses, Options(**options))  # type: ignore[typeddict-item]
    for field, problem in violations(request):
        raise InvalidInput(field, problem, "see docs/scorer.md for what it may be")
    return request


def ranking_at(place: Place, request: scoring_pb2.RankRequest) -> scoring_pb2.RankResponse:
    """The answer of a scorer, or of weights that are loaded for it."""
    return _asked(request, place) if place.address else _computed(request, place)


def written(answer: scoring_pb2.RankResponse) -> str:
    """The answer as the JSON that the scorer itself gives."""
    return json_format.MessageToJson(answer, always_print_fields_with_no_presence=True) + "\n"


def _asked(request: scoring_pb2.RankRequest, place: Place) -> scoring_pb2.RankResponse:
    from selfie.client import Scorer, Tls

    if place.policy or place.reference:
        raise InvalidInput("--address", "is given beside weights", "give it, or --policy and --reference")
    tls = Tls(place.authorities) if place.authorities else False
    with Scorer(str(place.address), token=place.token_file, tls=tls) as scorer:
        answer: scoring_pb2.RankResponse = scorer.call(request)
    return answer


def _computed(request: scoring_pb2.RankRequest, place: Place) -> scoring_pb2.RankResponse:
    """The same by a scorer of this process."""
    if not (place.policy and place.reference):
        raise InvalidInput("--policy", "and --reference are not both given", "give both, or --address")
    from selfie.models.resolve import resolve_model
    from selfie.rpc.logs import configure
    from selfie.scoring.loading import Weights, load_scorer
    from selfie.scoring.messages import options_of, prompt_of, rank_response, response_of

    configure("selfie", "warning")
    policy, reference = (
        Weights(
            resolve_model(
                uri, cache_root=default_cache(), field=f"--{role}", adapters=role == "policy"
            ).directory
        )
        for role, uri in (("policy", place.policy), ("reference", place.reference))
    )
    scorer = load_scorer(policy, reference, device=place.device, token_budget=2048)
    responses = [response_of(response) for response in request.responses]
    ranking = scorer.rank(prompt_of(request.prompt), responses, options_of(request.options))
    return rank_response(ranking, scorer, request.options)


def print_ranking(console: Console, answer: scoring_pb2.RankResponse, responses: list[str]) -> None:
    """A row for each response, best first, and what the numbers rest on."""
    calibrated = answer.provenance.HasField("calibration")
    strengths = [getattr(each, "lambda") for each in answer.responses[0].score.extrapolated]
    table = Table("rank", "response", "reward", "best", *(["calibrated"] if calibrated else []))
    for name in (*(f"λ={strength:g}" for strength in strengths), "policy", "reference", "tokens"):
        table.add_column(name, justify="right")
    for ranked in answer.responses:
        table.add_row(*_cells(ranked, responses[ranked.index], calibrated=calibrated))
    console.print(table)
    found = answer.provenance
    told = (
        f"policy {found.policy_digest[:12]} against {found.reference_digest[:12]}, {_precision(answer)}; "
        f"rewards within {answer.tie_band:.2g} are ties; log-probabilities in nats"
    )
    console.print(told, markup=False, highlight=False, soft_wrap=True)


def _precision(answer: scoring_pb2.RankResponse) -> str:
    found = answer.provenance
    told = f"{found.precision} (products in {found.products})"
    return f"{told}, {answer.rescored_pairs} pairs scored again" if answer.rescored_pairs else told


def _cells(ranked: scoring_pb2.RankedResponse, text: str, *, calibrated: bool) -> list[str]:
    shown = text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…"
    found = ranked.score
    return [
        str(ranked.rank),
        " ".join(shown.split()).replace("[", "\\["),
        f"{found.reward:+.4f}",
        f"{100 * ranked.best_probability:.1f} %",
        *([f"{100 * ranked.calibrated_best_probability:.1f} %"] if calibrated else []),
        *(f"{each.reward:+.4f}" for each in found.extrapolated),
        f"{found.policy_logprob:.2f}",
        f"{found.reference_logprob:.2f}",
        str(found.tokens),
    ]
