"""Score, Compare and Rank, on plain values: no messages, no transport, no torch.

A text is tokenised here once, with the end-of-turn token; ids are scored as they are. Nothing is
ever truncated: what is too long or empty is refused by the name of its field.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from selfie.errors import InvalidInput
from selfie.method.rewards import preference_probability
from selfie.models.chat import ChatTokenizer
from selfie.scoring.precision import EXACT, error_bound
from selfie.scoring.rewards import RewardRule
from selfie.scoring.rows import Engine, Floats, Row, RowScore, Wanted


@dataclass(frozen=True)
class Prompt:
    """Either a chat, as (role, content) turns, or its token ids."""

    messages: tuple[tuple[str, str], ...] = ()
    ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Response:
    """Either the text of an assistant's turn or its token ids."""

    text: str = ""
    ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Options:
    """How rewards are made; ``lambdas`` are the extrapolations to score with as well."""

    rule: RewardRule = field(default_factory=RewardRule)
    lambdas: tuple[float, ...] = ()


@dataclass(frozen=True)
class Extrapolated:
    """Sum of log-probabilities, in nats, and reward under the model extrapolated by ``lam``."""

    lam: float
    logprob: float
    reward: float


@dataclass(frozen=True)
class ScoredResponse:
    """Sums in nats over ``tokens`` response tokens; ``reward`` is normalised as asked."""

    policy_logprob: float
    reference_logprob: float
    reward: float
    tokens: int
    extrapolated: tuple[Extrapolated, ...]
    error_bound: float
    policy_tokens: Floats = field(repr=False)
    reference_tokens: Floats = field(repr=False)


@dataclass(frozen=True)
class Comparison:
    """``margin`` is the first's reward less the second's; up to ``tie_band`` it says nothing."""

    first: ScoredResponse
    second: ScoredResponse
    margin: float
    probability: float
    tie_band: float

    @property
    def tie(self) -> bool:
        return abs(self.margin) <= self.tie_band


@dataclass(frozen=True)
class Ranked:
    """``rank`` 1 is best; ``index`` is the position in the request."""

    index: int
    rank: int
    best_probability: float
    score: ScoredResponse


@dataclass(frozen=True)
class Ranking:
    """Best first; rewards closer than ``tie_band`` to the one above share its rank."""

    responses: tuple[Ranked, ...]
    tie_band: float


@dataclass(frozen=True)
class Provenance:
    """What the numbers of an answer rest on."""

    policy_digest: str
    reference_digest: str
    tokenizer_digest: str
    precision: str = EXACT


class Scorer:
    """The scoring service without its transport; used by one thread at a time."""

    def __init__(self, engine: Engine, tokenizer: ChatTokenizer) -> None:
        self.engine = engine
        self._tokenizer = tokenizer
        self.provenance = Provenance(
            engine.policy_digest, engine.reference_digest, tokenizer.tokenizer_digest
        )

    def score(self, prompt: Prompt, responses: Sequence[Response], options: Options) -> list[ScoredResponse]:
        """Log-probabilities and rewards in the order of the responses; InvalidInput by field."""
        named = {f"responses[{index}]": response for index, response in enumerate(responses)}
        return self._score(prompt, named, options)

    def compare(self, prompt: Prompt, first: Response, second: Response, options: Options) -> Comparison:
        """Which of two responses the policy prefers over its reference, how surely."""
        one, other = self._score(prompt, {"first": first, "second": second}, options)
        margin = one.reward - other.reward
        band = options.rule.tie_band((one.tokens, other.tokens))
        return Comparison(one, other, margin, float(preference_probability(margin)), band)

    def rank(self, prompt: Prompt, responses: Sequence[Response], options: Options) -> Ranking:
        """The responses, best first; one tie band for all, that of the two least certain rewards."""
        scores = self.score(prompt, responses, options)
        return _ranking(scores, options.rule.tie_band([score.tokens for score in scores]))

    def _score(
        self, prompt: Prompt, responses: dict[str, Response], options: Options
    ) -> list[ScoredResponse]:
        prompt_ids = self._prompt_ids(prompt)
        rows = [Row(prompt_ids, self._response_ids(name, r)) for name, r in responses.items()]
        for name, row in zip(responses, rows, strict=True):
            check_row(name, row, self.engine)
        scores = self.engine.score(rows, Wanted(lambdas=options.lambdas))
        return [_scored(score, options) for score in scores]

    def _prompt_ids(self, prompt: Prompt) -> tuple[int, ...]:
        if bool(prompt.messages) == bool(prompt.ids):
            raise InvalidInput("prompt", "has both messages and ids, or neither", "give one of them")
        if prompt.ids:
            return prompt.ids
        turns = [{"role": role, "content": content} for role, content in prompt.messages]
        return self._tokenizer.prompt_ids(turns, field="prompt.messages").ids

    def _response_ids(self, name: str, response: Response) -> tuple[int, ...]:
        if bool(response.text) == bool(response.ids):
            raise InvalidInput(name, "has both text and ids, or is empty", "give text or response_ids")
        if response.ids:
            return response.ids
        return self._tokenizer.response_ids(response.text)


def check_row(name: str, row: Row, engine: Engine) -> None:
    """InvalidInput for ids outside the vocabulary, and for more of them than the models have positions."""
    for ids in (row.prompt_ids, row.response_ids):
        strange = next((token for token in ids if not 0 <= token < engine.vocabulary), None)
        if strange is not None:
            remedy = f"use ids from 0 to {engine.vocabulary - 1}"
            raise InvalidInput(name, f"has the id {strange}, which is not in the vocabulary", remedy)
    if row.tokens > engine.max_tokens:
        problem = f"prompt and response have {row.tokens} tokens together"
        raise InvalidInput(name, problem, f"send at most {engine.max_tokens}; nothing is truncated here")


def _scored(score: RowScore, options: Options) -> ScoredResponse:
    policy, reference, tokens = score.policy_logprob, score.reference_logprob, score.tokens
    extrapolated = [score.extrapolated_logprob(index, lam) for index, lam in enumerate(options.lambdas)]
    return ScoredResponse(
        policy_logprob=policy,
        reference_logprob=reference,
        reward=options.rule.reward(policy, reference, tokens),
        tokens=tokens,
        extrapolated=tuple(
            Extrapolated(lam, logprob, options.rule.reward(logprob, reference, tokens))
            for lam, logprob in zip(options.lambdas, extrapolated, strict=True)
        ),
        error_bound=error_bound(tokens),
        policy_tokens=score.policy_tokens,
        reference_tokens=score.reference_tokens,
    )


def _ranking(scores: list[ScoredResponse], band: float) -> Ranking:
    rewards = np.array([score.reward for score in scores])
    odds = np.exp(rewards - rewards.max())
    order = np.argsort(-rewards, kind="stable")
    ranked: list[Ranked] = []
    for place, index in enumerate(order, start=1):
        above = ranked[-1] if ranked else None
        shared = above is not None and above.score.reward - rewards[index] <= band
        rank = above.rank if above is not None and shared else place
        ranked.append(Ranked(int(index), rank, float(odds[index] / odds.sum()), scores[index]))
    return Ranking(tuple(ranked), band)
