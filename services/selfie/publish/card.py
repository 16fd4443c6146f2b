"""The model card of a published checkpoint: where it comes from, and nothing about how good it is."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from selfie.artifacts.manifests import Manifest

_TRAINED = """\
This language model was trained by [Selfie](https://arxiv.org/abs/2406.04412), which aligns a model with
preference data that the model makes itself. {kind}"""
_KINDS = {
    True: "Round 0 trains on preferences that people labelled.",
    False: "In this round the policy of the round before answered prompts, judged its answers by its own "
    "log-probabilities, and was trained on the pairs that came of it; no person labelled them.",
}
_UNTRAINED = """\
This is the base model of a run of [Selfie](https://arxiv.org/abs/2406.04412), unchanged: only its small files
were written again so that inference engines can read them."""
# What the name of a built-in model does not say by itself.
_BUILT_IN = {
    "builtin://smollm2-135m-instruct": "HuggingFaceTB/SmolLM2-135M-Instruct, of which Selfie carries weights "
    "rounded to 4 bits, the embedding to 8, written as float32; Apache-2.0",
}
# Manifests are a run's own, and speeds those of the process that happened to finish the training.
_OF_ONE_RUN = frozenset({"pairs"})
_OF_ONE_START = frozenset({"seconds", "threads", "tokens_per_second", "pairs_per_second"})
_LIMITS = """\
## What is not known

This card is written when the checkpoint is published, before it is evaluated. How the model judges held-out
pairs, how long its answers are and how far it has moved from its base are in the report of the run; for
safety, bias and facts the card of the base model applies, and nothing was done about them here. The licence
is that of the base model and of the data that the run was given."""


@dataclass(frozen=True)
class Origin:
    """What the card says about where a checkpoint is from; ``revision`` only if it is known."""

    run_name: str
    round: int
    base_model: str
    revision: str | None
    template_digest: str
    tokenizer_digest: str


def model_card(source: Manifest, weights: str, origin: Origin) -> str:
    """The text of ``README.md``; ``source`` is the manifest of the step that made the weights.

    It has nothing that differs between two runs of the same specification and random seed: no time,
    no place, no attempt, no digest of a manifest. So the same training gives the same checkpoint, card
    and all.
    """
    trained = source.step != "prepare"
    description = _TRAINED.format(kind=_KINDS[origin.round == 0]) if trained else _UNTRAINED
    sections = [
        _front_matter(origin),
        f"# {origin.run_name}, round {origin.round}",
        description,
        _table(source, weights, origin),
        *([_parameters(source)] if trained else []),
        _LIMITS,
    ]
    return "\n\n".join(sections) + "\n"


def _front_matter(origin: Origin) -> str:
    lines = ["---", "library_name: transformers", "pipeline_tag: text-generation", "tags: [selfie, dpo]"]
    if origin.base_model.startswith("hf://"):
        lines.append(f"base_model: {origin.base_model.removeprefix('hf://')}")
    return "\n".join([*lines, "---"])


def _table(source: Manifest, weights: str, origin: Origin) -> str:
    revision = f", revision `{origin.revision}`" if origin.revision else ""
    built_in = f": {_BUILT_IN[origin.base_model]}" if origin.base_model in _BUILT_IN else ""
    inputs = {} if source.step == "prepare" else _without(source.inputs, _OF_ONE_RUN)
    rows = {
        "Base model": f"`{_base_model(origin.base_model)}`{revision}{built_in}",
        "Run": f"`{origin.run_name}`",
        "Made by": f"`{source.step}`",
        "Its weights": f"`{weights}`",
        **{f"Made from: {name}": f"`{digest}`" for name, digest in sorted(inputs.items())},
        "Chat template": f"`{origin.template_digest}`",
        "Tokenizer": f"`{origin.tokenizer_digest}`",
    }
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join(["| what | which; long values are SHA-256 |", "|---|---|", *lines])


def _base_model(uri: str) -> str:
    """What the model is called: of a directory its name, since where it lies is each machine's own."""
    scheme, _, path = uri.partition("://")
    return unquote(path.rstrip("/").rpartition("/")[2]) if scheme == "file" else uri


def _parameters(source: Manifest) -> str:
    return "\n\n".join(
        [
            "## Parameters of the training",
            _json_block(_without(source.parameters, _OF_ONE_RUN)),
            "## What the training counted",
            _json_block({"counts": source.counts, "measures": _without(source.measures, _OF_ONE_START)}),
        ]
    )


def _without(fields: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}


def _json_block(value: Mapping[str, Any]) -> str:
    return f"```json\n{json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)}\n```"
