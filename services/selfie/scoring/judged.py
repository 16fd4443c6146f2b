"""Rows of the two data sets that scoring writes: scored responses, and the pairs made of them.

Rows are mappings by the schemas of `selfie.artifacts.rows`. Rewards are always those of the
implicit judge, so that every judge's pairs can be read by the same numbers; which response is the
chosen one is what the judges differ in.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from selfie.artifacts.rows import PROMPT_SCHEMA
from selfie.method.choices import JudgeName, PairingName
from selfie.method.judging import JUDGES, Candidates
from selfie.method.pairing import NoPair, choose_pair
from selfie.method.rewards import confidence, preference_probability
from selfie.scoring.core import Provenance
from selfie.scoring.precision import AUTO, EXACT, AnyMode
from selfie.scoring.rewards import RewardRule, least_certain_two
from selfie.scoring.rows import PolicyScore, RowScore

Fields = Mapping[str, Any]

HUMAN = "human"
HUMAN_INDEX = -1
PROVENANCE_COLUMNS = tuple(field.name for field in fields(Provenance))


@dataclass(frozen=True, kw_only=True)
class Judging:
    """How rewards are made, who chooses by them, and which two responses become a pair.

    With ``finished_only`` responses cut by the length limit are in no pair. To leave out pairs with a
    cut winner afterwards would favour the shorter: the cut ones are the longest.

    ``precision`` is the mode that was asked for: under `auto` ties are decided as `exact` does.
    """

    rule: RewardRule
    lam: float
    judge: JudgeName
    pairing: PairingName
    random_seed: int
    finished_only: bool = False
    precision: AnyMode = EXACT

    def tie_band(self, rows: Sequence[Fields]) -> float:
        """Margins up to this are ties, among scored responses to one prompt."""
        if self.precision == AUTO:
            return self.rule.tie_band([row["tokens"] for row in rows])
        return self.band_of(rows)

    def band_of(self, rows: Sequence[Fields]) -> float:
        """The error of the least certain two rewards, as they were computed."""
        return least_certain_two([self.rule.bound_by(row["error_bound"], row["tokens"]) for row in rows])


def scored_row(
    sample: Fields, score: RowScore | PolicyScore, judging: Judging, provenance: Provenance
) -> Fields:
    """A sampled response with its scores, by SCORED_SCHEMA."""
    policy, reference, tokens = score.policy_logprob, score.reference_logprob, score.tokens
    return {
        **sample,
        "policy_logprob": policy,
        "reference_logprob": reference,
        "extrapolated_logprob": score.extrapolated_logprob(0, judging.lam),
        "lambda": judging.lam,
        "tokens": tokens,
        "reward": judging.rule.reward(policy, reference, tokens),
        "reward_mean": judging.rule.per_token.reward(policy, reference, tokens),
        "error_bound": score.arithmetic.error_bound(tokens),
        "divergence": score.divergence,
        **asdict(provenance),
        "precision": score.arithmetic.mode,
    }


def human_samples(preference: Fields) -> list[Fields]:
    """The two responses of a pair that people labelled, chosen first, as if they were samples."""
    prompt = {name: preference[name] for name in PROMPT_SCHEMA.names}
    return [
        {
            **prompt,
            "sample_index": index,
            "seed": 0,
            "response_text": preference[f"{side}_text"],
            "response_ids": preference[f"{side}_ids"],
            "ids_from": preference["ids_from"],
            "finish_reason": "stop",
            "engine": HUMAN,
        }
        for index, side in enumerate(("chosen", "rejected"))
    ]


def human_pair(preference: Fields, chosen: Fields, rejected: Fields, judging: Judging) -> Fields:
    """A pair that people labelled, by PAIR_SCHEMA: the implicit judge's choice is its margin's sign."""
    pair = _pair(preference["pair_id"], chosen, rejected, judging)
    indices = {"chosen_index": HUMAN_INDEX, "rejected_index": HUMAN_INDEX}
    return {**pair, **indices, "judge": "implicit", "pairing": HUMAN}


def self_made_pair(scored: Sequence[Fields], judging: Judging) -> Fields | NoPair:
    """The pair of one prompt's responses, by PAIR_SCHEMA, or why there is none.

    Chance depends on the random seed and the prompt alone, so that it falls alike in every attempt.
    """
    candidates = [row for row in scored if row["tokens"] > 0]
    if len(candidates) < 2:
        return NoPair("too-few")
    if judging.finished_only:
        candidates = [row for row in candidates if row["finish_reason"] == "stop"]
        if len(candidates) < 2:
            return NoPair("unfinished")
    rng = _chance(judging.random_seed, candidates[0]["prompt_digest"])
    choice = choose_pair(
        JUDGES[judging.judge](_candidates(candidates, judging), rng),
        responses=[tuple(row["response_ids"]) for row in candidates],
        strategy=judging.pairing,
        tie_band=judging.tie_band(candidates) if judging.judge == "implicit" else 0.0,
        rng=rng,
    )
    if isinstance(choice, NoPair):
        return choice
    chosen, rejected = candidates[choice.winner], candidates[choice.loser]
    name = f"{chosen['prompt_id']}/{chosen['sample_index']}-{rejected['sample_index']}"
    return _pair(name, chosen, rejected, judging)


def _candidates(rows: Sequence[Fields], judging: Judging) -> Candidates:
    return Candidates(
        policy_logprobs=np.array([row["policy_logprob"] for row in rows]),
        reference_logprobs=np.array([judging.rule.baseline(row["reference_logprob"]) for row in rows]),
        tokens=np.array([float(row["tokens"]) for row in rows]),
        beta=judging.rule.beta,
        normalization=judging.rule.normalization,
    )


def _chance(random_seed: int, prompt_digest: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{random_seed} {prompt_digest}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def _pair(pair_id: str, chosen: Fields, rejected: Fields, judging: Judging) -> Fields:
    margin = chosen["reward"] - rejected["reward"]
    extrapolated = _extrapolated_reward(chosen, judging) - _extrapolated_reward(rejected, judging)
    return {
        **{name: chosen[name] for name in PROMPT_SCHEMA.names},
        "pair_id": pair_id,
        **_side("chosen", chosen),
        **_side("rejected", rejected),
        "ids_from": "engine" if chosen["ids_from"] == rejected["ids_from"] == "engine" else "retokenized",
        "judge": judging.judge,
        "pairing": judging.pairing,
        "beta": judging.rule.beta,
        "lambda": judging.lam,
        "normalization": judging.rule.normalization,
        "margin": margin,
        "margin_mean": chosen["reward_mean"] - rejected["reward_mean"],
        "extrapolated_margin": extrapolated,
        **_sureness("", margin),
        **_sureness("extrapolated_", extrapolated),
        "tie_band": judging.band_of((chosen, rejected)),
        **{name: chosen[name] for name in PROVENANCE_COLUMNS},
        "precision": judging.precision,
    }


def _side(side: str, scored: Fields) -> Fields:
    return {f"{side}_{column}": scored[name] for column, name in _SIDE.items()}


_SIDE = {
    "text": "response_text",
    "ids": "response_ids",
    "index": "sample_index",
    "finish_reason": "finish_reason",
    "policy_logprob": "policy_logprob",
    "reference_logprob": "reference_logprob",
    "extrapolated_logprob": "extrapolated_logprob",
    "tokens": "tokens",
    "reward": "reward",
}


def _sureness(prefix: str, margin: float) -> Fields:
    probability = preference_probability(margin)
    return {f"{prefix}probability": float(probability), f"{prefix}confidence": float(confidence(probability))}


def _extrapolated_reward(row: Fields, judging: Judging) -> float:
    return judging.rule.reward(row["extrapolated_logprob"], row["reference_logprob"], row["tokens"])
