"""Moves a running server to the weights of another round, where it stands.

vLLM has this in its development mode (``VLLM_SERVER_DEV_MODE=1``), whose routes ask for no key:
nobody but this service may reach such a server. Each step can be repeated, and whoever fails in
the middle leaves the server paused, or with a label that names no weights: then it answers for
none, until the hand-over is done again.
"""

from typing import Any
from urllib.parse import urlencode

from selfie.errors import FailedPrecondition, SelfieError
from selfie.generation.digests import digest_in
from selfie.generation.engines import EngineFault
from selfie.generation.http.clients import JsonServer
from selfie.generation.openai.answers import ModelList, parsed
from selfie.generation.openai.kinds import SGLANG, VLLM, Kind

# What weights are called while they are being moved.
_MOVING = "moving"


async def load(server: JsonServer, kind: Kind, directory: str, weights_digest: str, *, by_name: str) -> None:
    """Loads the checkpoint in ``directory``, as the server sees it, and labels it with its digest.

    Where policies are asked for by name nothing has to be done. Raises `FailedPrecondition`
    ``CannotReload`` for a server that can't, `EngineFault` if it failed at it.
    """
    if "{digest}" in by_name:
        return
    if kind is VLLM:
        await _load_vllm(server, directory, weights_digest)
    elif kind is SGLANG:
        await _load_sglang(server, directory, weights_digest)
    else:
        raise FailedPrecondition(
            "CannotReload", f"{server.where} ({kind.name}) can't load weights; start it anew with {directory}"
        )


async def _load_vllm(server: JsonServer, directory: str, weights_digest: str) -> None:
    await _post(server, f"/pause?{urlencode({'mode': 'wait'})}")
    await _post(server, "/update_weight_version", {"new_version": _MOVING})
    rpc = {"method": "reload_weights", "kwargs": {"weights_path": directory}}
    await _post(server, "/collective_rpc", rpc)
    # Blocks that were computed with the old weights would be taken for the new ones'.
    answer = await _post(server, "/reset_prefix_cache")
    if not (isinstance(answer, dict) and answer.get("success") is True):
        raise EngineFault(f"{server.where} could not empty its prefix cache; it stays paused")
    await _post(server, "/update_weight_version", {"new_version": weights_digest})
    await _post(server, "/resume")
    await _require_label(server, "/weight_info", weights_digest)


async def _load_sglang(server: JsonServer, directory: str, weights_digest: str) -> None:
    await _post(server, "/update_weight_version", {"new_version": _MOVING, "abort_all_requests": False})
    body = {"model_path": directory, "weight_version": weights_digest, "flush_cache": True}
    await _post(server, "/update_weights_from_disk", body)
    await _require_label(server, "/model_info", weights_digest)


async def load_adapter(server: JsonServer, name: str, directory: str) -> None:
    """Loads a LoRA adapter into vLLM under a name of its own; one that is there is left as it is.

    A new name for each round, because what its prefix cache holds is told apart by it. Needs
    ``VLLM_ALLOW_RUNTIME_LORA_UPDATING=1``.
    """
    cards = parsed(ModelList, await server.get("/v1/models"), f"{server.where}/v1/models").data
    if name not in {card.id for card in cards}:
        await _post(server, "/v1/load_lora_adapter", {"lora_name": name, "lora_path": directory})


async def unload_adapter(server: JsonServer, name: str) -> None:
    """Takes an adapter of vLLM away again."""
    await _post(server, "/v1/unload_lora_adapter", {"lora_name": name})


async def _post(server: JsonServer, path: str, body: Any = None) -> Any:
    try:
        return await server.post(path, body, slow=True)
    except FailedPrecondition as error:
        if error.reason != "EngineUnsuitable":
            raise
        raise FailedPrecondition(
            "CannotReload",
            f"{error}; start vLLM with VLLM_SERVER_DEV_MODE=1, or start it anew for each round",
        ) from error
    except SelfieError as error:
        raise EngineFault(f"the hand-over of weights failed: {error}") from error


async def _require_label(server: JsonServer, path: str, weights_digest: str) -> None:
    info = await server.get(path)
    label = info.get("weight_version") if isinstance(info, dict) else None
    if digest_in(label) != weights_digest:
        raise EngineFault(
            f"{server.where} calls its weights {label!r} after they were moved to {weights_digest}"
        )
