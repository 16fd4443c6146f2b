"""Which weights a server has, from what it tells about itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from selfie.errors import FailedPrecondition
from selfie.generation.digests import digest_in, is_followed
from selfie.generation.http.clients import JsonServer
from selfie.generation.http.failures import unusable
from selfie.generation.openai.answers import ModelCard
from selfie.generation.openai.kinds import SGLANG, TRANSFORMERS, VLLM, Kind

# How vLLM and SGLang label weights that nobody has labelled.
_UNLABELLED = ("", "default")


@dataclass(frozen=True, slots=True)
class Told:
    """What a server has said: the name that its model is asked for by, and whose weights it has.

    ``moving``: it is about to be moved to weights that it will then be able to name.
    """

    model: str
    weights_digest: str = ""
    max_context_tokens: int = 0
    engine: str = ""
    moving: bool = False


async def tell(server: JsonServer, kind: Kind, cards: Sequence[ModelCard], model: str) -> Told:
    """Asks; ``model`` is the name that was configured, or empty for the one that is there.

    Raises `FailedPrecondition` ``WeightsUnproven`` where there is none of that name.
    """
    if kind is TRANSFORMERS and not cards:
        # It lists a cache that directories are not in.
        return Told(model, engine=kind.name)
    card = _chosen(cards, model, server.where)
    digest, engine = await _labelled(server, kind, digest_in(card.root) or digest_in(card.id))
    return Told(card.id, digest, card.max_model_len or 0, engine, not digest and is_followed(card.root))


def _chosen(cards: Sequence[ModelCard], model: str, where: str) -> ModelCard:
    fit = [card for card in cards if (card.id == model if model else card.parent is None)]
    if len(fit) != 1:
        there = ", ".join(card.id for card in cards) or "none"
        raise FailedPrecondition(
            "WeightsUnproven",
            f"{where} has the models {there}: not exactly one {f'is {model}' if model else 'to choose'}; "
            "give its name by --engine-model",
        )
    return fit[0]


async def _labelled(server: JsonServer, kind: Kind, path: str) -> tuple[str, str]:
    """The digest of what it has loaded from ``path``, by its own label, and its software's name.

    A label that is neither a digest nor the one that servers start with was given while weights
    were being moved, or by somebody else: then nobody knows what is there.
    """
    if kind is VLLM:
        version = _field(await server.get("/version"), "version", f"{server.where}/version")
        label = await _vllm_label(server)
        # Moving weights in place leaves the path as it was.
        return (path if label in _UNLABELLED else digest_in(label)), f"vllm/{version}"
    if kind is SGLANG:
        where, info = f"{server.where}/model_info", await server.get("/model_info")
        return sglang_digest(
            _field(info, "weight_version", where), _field(info, "model_path", where)
        ), kind.name
    return path, kind.name


def sglang_digest(label: str, path: str) -> str:
    """What SGLang has loaded: a reload moves the path, and the label only if it is told to."""
    loaded, labelled = digest_in(path), digest_in(label)
    if label in _UNLABELLED:
        return loaded
    return labelled if loaded in ("", labelled) else ""


async def _vllm_label(server: JsonServer) -> str:
    try:
        info = await server.get("/weight_info")
    except FailedPrecondition as error:
        if error.reason != "EngineUnsuitable":
            raise
        # The route is there in development mode alone. Without it weights can't be moved either,
        # and what the server was started with is what it has.
        return ""
    return _field(info, "weight_version", f"{server.where}/weight_info")


def _field(answer: Any, name: str, where: str) -> str:
    value = answer.get(name) if isinstance(answer, dict) else None
    if value is not None and not isinstance(value, str):
        raise unusable(where, f"a {name} that is not text")
    return value or ""
