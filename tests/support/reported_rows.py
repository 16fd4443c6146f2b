"""A small run's specification and rows that were never computed, as the services publish them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from selfie.runs.load import parse_run
from selfie.runs.spec import SelfieRun

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

EASY = "The cat sat on the mat. It was warm."

HARD = "Institutional considerations necessitate comprehensive organizational deliberation."

RUN = """
apiVersion: selfie.dev/v1alpha1
kind: SelfieRun
metadata: {{name: toy}}
spec:
  model: {{uri: builtin://toy}}
  seed: {{dataset: seed.jsonl, heldout: heldout.jsonl, size: 8}}
  rounds:
  - prompts: {{dataset: prompts.jsonl}}
  scoring: {{lengthNormalization: {normalization}}}
  training: {{refinement: {refinement}}}
  evaluation:
    prompts: {{dataset: prompts.jsonl}}
    evaluator: {evaluator}
"""

_PROMPT = {
    "messages": [{"role": "user", "content": "What is a cat?"}],
    "prompt_ids": [1, 2],
    "prompt_digest": "d",
    "truncated": False,
}

_PROVENANCE = {"policy_digest": "p", "reference_digest": "r", "tokenizer_digest": "t", "precision": "exact"}


def make_run(
    *, normalization: str = "sum", refinement: str = "online", evaluator: str = "readingEase"
) -> SelfieRun:
    fields = {"normalization": normalization, "refinement": refinement, "evaluator": evaluator}
    return parse_run(RUN.format(**fields))


def pair(pair_id: str, **fields: Any) -> dict[str, Any]:
    """A row by PAIR_SCHEMA; a margin may be given, and any other column."""
    margin = fields.pop("margin", 1.0)
    sides: dict[str, Any] = {}
    for side, text, reward in (("chosen", EASY, margin), ("rejected", HARD, 0.0)):
        sides |= {
            f"{side}_text": text,
            f"{side}_ids": [3, 4],
            f"{side}_finish_reason": "stop",
            f"{side}_index": 0,
            f"{side}_policy_logprob": -1.0,
            f"{side}_reference_logprob": -1.0,
            f"{side}_extrapolated_logprob": -1.0,
            f"{side}_tokens": 2,
            f"{side}_reward": reward,
        }
    known = {
        **_PROMPT,
        **_PROVENANCE,
        **sides,
        "prompt_id": pair_id,
        "pair_id": pair_id,
        "ids_from": "engine",
        "judge": "implicit",
        "pairing": "best_worst",
        "beta": 0.1,
        "lambda": 0.5,
        "normalization": "sum",
        "margin": margin,
        "margin_mean": margin / 2,
        "extrapolated_margin": margin,
        "probability": 0.625,
        "extrapolated_probability": 0.5,
        "confidence": 0.25,
        "extrapolated_confidence": 0.0,
        "tie_band": 0.001,
        "kept": True,
        "reason": "",
        "noisy": False,
        "suspicions": [],
        "threshold": 0.1,
        "soft_label": 1.0,
    }
    return {**known, **fields}


def response(prompt_id: str, text: str) -> dict[str, Any]:
    """A row by SCORED_SCHEMA."""
    numbers = ("policy_logprob", "reference_logprob", "extrapolated_logprob", "lambda", "reward")
    return {
        **_PROMPT,
        **_PROVENANCE,
        **dict.fromkeys((*numbers, "reward_mean", "error_bound", "divergence"), 0.0),
        "prompt_id": prompt_id,
        "sample_index": 0,
        "seed": 1,
        "response_text": text,
        "response_ids": [3],
        "ids_from": "engine",
        "finish_reason": "stop",
        "engine": "toy",
        "tokens": 1,
    }


def ratings(values: Sequence[float]) -> list[dict[str, Any]]:
    """Rows by RATING_SCHEMA of the first responses to the prompts ``e0``, ``e1``, …"""
    return [
        {"prompt_id": f"e{index}", "sample_index": 0, "rating": value, "evaluator_digest": "d"}
        for index, value in enumerate(values)
    ]
