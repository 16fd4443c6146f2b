"""What a set of scored samples amounts to: counts, and the monitors of a policy's health."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from selfie.method.pairing import NoPair
from selfie.scoring.judged import Fields

OUTCOMES = {"tie": "ties", "identical": "identical", "too-few": "too_few", "unfinished": "unfinished"}


class SampleTally:
    """Takes in prompt after prompt; keeps numbers only, not rows."""

    def __init__(self) -> None:
        self._prompts = 0
        self._unpaired: Counter[str] = Counter()
        self._tokens: list[int] = []
        self._divergence: list[float] = []
        self._finished = 0
        self._empty = 0
        self._bound = 0.0
        self._responses: Counter[int] = Counter()
        self._margins: list[float] = []
        self._confidences: list[float] = []

    def add(self, scored: Sequence[Fields], pair: Fields | NoPair) -> None:
        """One prompt's responses and the pair made of them, or why there is none."""
        self._prompts += 1
        for row in scored:
            self._add_response(row)
        if isinstance(pair, NoPair):
            self._unpaired[pair.reason] += 1
        else:
            self._margins.append(pair["margin"])
            self._confidences.append(pair["confidence"])

    def counts(self) -> dict[str, int]:
        """``cut`` are responses that the length limit ended, ``tokens`` those of all; the rest prompts."""
        responses, pairs = len(self._tokens), len(self._margins)
        found = {"prompts": self._prompts, "responses": responses, "pairs": pairs}
        outcomes = {count: self._unpaired[reason] for reason, count in OUTCOMES.items()}
        return {**found, **outcomes, "cut": responses - self._finished, "tokens": sum(self._tokens)}

    def measures(self) -> dict[str, float]:
        """Means and shares over the responses, margins over the pairs; what has no basis is absent.

        ``duplicate_share`` is the share of responses that an earlier one equals, whatever its
        prompt; ``divergence`` is KL(policy || reference) per response token, in nats.
        """
        return {**self._response_measures(), **self._pair_measures()}

    def _add_response(self, row: Fields) -> None:
        self._tokens.append(row["tokens"])
        self._finished += row["finish_reason"] == "stop"
        self._empty += not row["response_text"].strip()
        self._bound = max(self._bound, row["error_bound"])
        self._responses[hash(tuple(row["response_ids"]))] += 1
        if row["divergence"] is not None:
            self._divergence.append(row["divergence"])

    def _response_measures(self) -> dict[str, float]:
        responses = len(self._tokens)
        if not responses:
            return {}
        measures = {
            "mean_tokens": sum(self._tokens) / responses,
            "finished_share": self._finished / responses,
            "duplicate_share": 1 - len(self._responses) / responses,
            "empty_share": self._empty / responses,
            "error_bound_max": self._bound,
        }
        return measures | divergence_measure(self._divergence, self._tokens)

    def _pair_measures(self) -> dict[str, float]:
        if not self._margins:
            return {}
        quantiles = np.quantile(self._margins, [0.1, 0.5, 0.9]).tolist()
        means = {"mean_margin": _mean(self._margins), "mean_confidence": _mean(self._confidences)}
        return means | dict(zip(("margin_q10", "margin_q50", "margin_q90"), quantiles, strict=True))


def divergence_measure(divergences: Sequence[float], tokens: Sequence[int]) -> dict[str, float]:
    """Mean over all tokens of per-response means; nothing unless it was measured for every response."""
    if not sum(tokens) or len(divergences) != len(tokens):
        return {}
    weighted = math.fsum(value * count for value, count in zip(divergences, tokens, strict=True))
    return {"divergence": weighted / sum(tokens)}


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
