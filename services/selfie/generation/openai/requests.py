"""What OpenAI-compatible servers are asked. Pure."""

import json
from collections.abc import Sequence
from typing import Any

from selfie.errors import InvalidInput
from selfie.generation.fleet.servers import Wanted
from selfie.generation.openai.capabilities import Capabilities
from selfie.generation.openai.kinds import TRANSFORMERS, VLLM, Kind

Json = dict[str, Any]


def seeds_for(kind: Kind, seeds: Sequence[int]) -> list[int]:
    """The seeds that a server is really given, and that are recorded, for samples with these."""
    first = seeds[0] % 2**kind.seed_bits
    if len(seeds) > 1 and kind.seeds_count_up:
        return [first + index for index in range(len(seeds))]
    return [seed % 2**kind.seed_bits for seed in seeds]


def completion_body(kind: Kind, can: Capabilities, model: str, wanted: Wanted, seeds: Sequence[int]) -> Json:
    """One request for ``seeds`` as `seeds_for` gives them; text goes where ids can't."""
    parameters = wanted.parameters
    body: Json = {
        "model": model,
        "prompt": list(wanted.prompt_ids) if can.takes_ids else wanted.text,
        "max_tokens": parameters.max_new_tokens,
        "temperature": parameters.temperature,
        "top_p": parameters.top_p,
        "seed": seeds[0],
        **kind.neutral,
    }
    if len(seeds) > 1:
        body["n"] = len(seeds)
    if can.gives_ids:
        body["return_token_ids"] = True
    if parameters.logprobs:
        body["logprobs"] = _wanted_logprobs(can)
    if kind.stops_at_ids:
        body["stop_token_ids"] = sorted(wanted.tokenizer.end_of_turn_ids)
    if kind is VLLM:
        body["return_weight_versions"] = True
    if kind is TRANSFORMERS:
        body["generation_config"] = _generation_config(wanted)
    return body


def _wanted_logprobs(can: Capabilities) -> int:
    if not can.gives_logprobs:
        raise InvalidInput(
            "parameters.logprobs",
            "the engine tells no log-probabilities",
            "ask without them, or use another engine",
        )
    return 1


def _generation_config(wanted: Wanted) -> str:
    """It samples only if the generation config says so, whatever the temperature."""
    tokenizer, parameters = wanted.tokenizer, wanted.parameters
    config: Json = {
        "max_new_tokens": parameters.max_new_tokens,
        "eos_token_id": sorted(tokenizer.end_of_turn_ids),
        "pad_token_id": tokenizer.pad_id,
        "do_sample": parameters.temperature > 0.0,
    }
    if parameters.temperature > 0.0:
        config |= {"temperature": parameters.temperature, "top_p": parameters.top_p, "top_k": 0}
    return json.dumps(config)
