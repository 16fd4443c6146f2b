"""A whole round, held against a slow reading of the method written with loops alone.

The reading uses nothing of `selfie`, and nothing of numpy but its random numbers: it adds logits,
takes softmaxes and sorts lists, one number at a time, as arXiv 2406.04412 puts it. The tiny models
are rows of random logits: a reference, the policy that judges against it, and a learner that
drifts away from it step by step.
"""

import math
from dataclasses import dataclass

import numpy as np
import pytest

from selfie.method.extrapolation import extrapolated_logprob, extrapolated_margin, log_partition
from selfie.method.judging import JUDGES, Candidates
from selfie.method.logspace import log_softmax
from selfie.method.losses import noise_aware_gradient, noise_aware_loss, soft_labels
from selfie.method.noise import OnlineThreshold, ParityThreshold, default_window, suspects, warmup_steps
from selfie.method.pairing import NoPair, PairChoice, choose_pair
from selfie.method.rewards import confidence, implicit_reward, preference_probability

BETA, LAMBDA, ALPHA, PERCENT, TIE_BAND = 0.1, 0.5, 0.1, 10.0, 0.02
PROMPTS, SAMPLES, VOCABULARY = 24, 4, 7
STEPS, RANKS, MICRO_BATCHES, PAIRS = 40, 2, 4, 2

Rows = list[list[float]]


@dataclass
class Response:
    """Token ids, and the rows of logits of both models at their positions."""

    ids: list[int]
    policy: Rows
    reference: Rows


Pair = tuple[Response, Response]


# The reading.


def log_probability(rows: Rows, ids: list[int]) -> float:
    total = 0.0
    for row, token in zip(rows, ids, strict=True):
        total += row[token] - math.log(sum(math.exp(value) for value in row))
    return total


def reward(response: Response) -> float:
    base = log_probability(response.reference, response.ids)
    return BETA * (log_probability(response.policy, response.ids) - base)


def extrapolated_reward(response: Response) -> float:
    mixed = []
    for ours, theirs in zip(response.policy, response.reference, strict=True):
        mixed.append([(1 + LAMBDA) * a - LAMBDA * b for a, b in zip(ours, theirs, strict=True)])
    base = log_probability(response.reference, response.ids)
    return BETA * (log_probability(mixed, response.ids) - base)


def margin(pair: Pair) -> float:
    return reward(pair[0]) - reward(pair[1])


def extrapolated(pair: Pair) -> float:
    return extrapolated_reward(pair[0]) - extrapolated_reward(pair[1])


def quantile(values: list[float]) -> float:
    ascending = sorted(values)
    place = PERCENT / 100 * (len(ascending) - 1)
    below = math.floor(place)
    return ascending[below] + (place - below) * (ascending[below + 1] - ascending[below])


def sound_decisions(steps: list[list[float]], window: int) -> list[list[bool]]:
    decisions: list[list[bool]] = []
    earlier: list[float] = []
    for number, margins in enumerate(steps):
        idle = number < 0.2 * len(steps) or len(earlier) < window
        tau = -math.inf if idle else quantile(earlier[-window:])
        decisions.append([value < tau for value in margins])
        earlier.extend(margins)
    return decisions


def parity_decisions(micro_batches: list[list[float]]) -> list[list[bool]]:
    decisions: list[list[bool]] = []
    means: list[float] = []
    for number, margins in enumerate(micro_batches):
        warm = number // MICRO_BATCHES < 0.2 * STEPS
        ascending = sorted(means[-50:])
        tau = (ascending[5] + ascending[6]) / 2 if len(ascending) == 50 else 0.0
        decisions.append([not warm and value <= tau for value in margins])
        means.append(sum(margins) / len(margins))
    return decisions


def loss(value: float, noisy: bool) -> float:
    right, wrong = 1 / (1 + math.exp(-value)), 1 / (1 + math.exp(value))
    share = ALPHA if noisy else 0.0
    return -(1 - share) * math.log(right) - share * math.log(wrong)


def slope(value: float, noisy: bool) -> float:
    return -(1 / (1 + math.exp(value)) - (ALPHA if noisy else 0.0))


# The tiny world.


def made_up(rng: np.random.Generator, drift: float) -> Response:
    shape = int(rng.integers(1, 7)), VOCABULARY
    reference = rng.normal(scale=1.5, size=shape)
    policy = reference + rng.normal(scale=drift, size=shape)
    return Response(rng.integers(VOCABULARY, size=shape[0]).tolist(), policy.tolist(), reference.tolist())


@pytest.fixture(scope="module")
def prompts() -> list[list[Response]]:
    """Responses by prompt; some repeat one another, those of the last prompt all do."""
    rng = np.random.default_rng(11)
    made = [[made_up(rng, 0.6) for _ in range(SAMPLES)] for _ in range(PROMPTS)]
    for responses in made[::4]:
        responses[1] = responses[0]
    return [*made, [made[0][2]] * SAMPLES]


@pytest.fixture(scope="module")
def steps() -> list[list[Pair]]:
    """Pairs by optimizer step, rank after rank, under a learner that starts at the reference."""
    rng = np.random.default_rng(12)
    size = RANKS * MICRO_BATCHES * PAIRS
    drifts = [0.4 * step / STEPS for step in range(STEPS)]
    return [[(made_up(rng, drift), made_up(rng, drift)) for _ in range(size)] for drift in drifts]


def sums(response: Response) -> tuple[float, float, float]:
    """Policy's and reference's log-probability and log Z, summed over the response."""
    positions = np.arange(len(response.ids)), response.ids
    policy, reference = log_softmax(response.policy)[positions], log_softmax(response.reference)[positions]
    log_z = log_partition(response.policy, response.reference, LAMBDA)
    return float(policy.sum()), float(reference.sum()), float(log_z.sum())


def judged(responses: list[Response]) -> np.ndarray:
    policy, reference, _ = np.array([sums(response) for response in responses]).T
    tokens = np.array([float(len(response.ids)) for response in responses])
    candidates = Candidates(policy, reference, tokens, beta=BETA, normalization="sum")
    return JUDGES["implicit"](candidates, np.random.default_rng(0))


def paired(responses: list[Response]) -> PairChoice | NoPair:
    return choose_pair(
        judged(responses),
        responses=[tuple(response.ids) for response in responses],
        strategy="best_worst",
        tie_band=TIE_BAND,
        rng=np.random.default_rng(0),
    )


# The comparison.


def test_rewards_and_pairs_are_those_of_the_reading(prompts: list[list[Response]]) -> None:
    outcomes = set()
    for responses in prompts:
        rewards = [reward(response) for response in responses]
        assert judged(responses) == pytest.approx(rewards, abs=1e-12)
        best, worst = rewards.index(max(rewards)), rewards.index(min(rewards))
        expected: PairChoice | NoPair = PairChoice(best, worst)
        if all(response.ids == responses[0].ids for response in responses):
            expected = NoPair("identical")
        elif rewards[best] - rewards[worst] <= TIE_BAND:
            expected = NoPair("tie")
        assert paired(responses) == expected
        outcomes.add(type(expected))
    assert outcomes == {PairChoice, NoPair}


def test_the_labels_doubted_before_training_are_those_of_the_reading(prompts: list[list[Response]]) -> None:
    choices = [(responses, paired(responses)) for responses in prompts]
    pairs = [(r[c.winner], r[c.loser]) for r, c in choices if isinstance(c, PairChoice)]
    plain, ahead = [margin(pair) for pair in pairs], [extrapolated(pair) for pair in pairs]
    sureness = [abs(1 / (1 + math.exp(-value)) - 0.5) * 2 for value in ahead]
    limit = quantile(sureness)
    noisy = [c < limit or (m > 0) != (e > 0) for c, m, e in zip(sureness, plain, ahead, strict=True)]
    assert confidence(preference_probability(ahead)) == pytest.approx(sureness, abs=1e-12)
    found = suspects(plain, ahead, noisy_percent=PERCENT)
    assert found.threshold == pytest.approx(limit, abs=1e-12)
    assert found.noisy.tolist() == noisy
    assert soft_labels(found.noisy, smoothing=ALPHA).tolist() == [0.9 if z else 1.0 for z in noisy]
    assert 0 < sum(noisy) < len(noisy)


def test_plain_and_extrapolated_margins_are_those_of_the_reading(steps: list[list[Pair]]) -> None:
    for step in steps:
        policy, reference, log_z = np.array([[sums(side) for side in pair] for pair in step]).T
        beyond = extrapolated_logprob(policy, reference, log_z, LAMBDA)
        chosen, rejected = implicit_reward(policy, reference, beta=BETA)
        better, worse = implicit_reward(beyond, reference, beta=BETA)
        by_identity = extrapolated_margin(chosen - rejected, *log_z, beta=BETA, lam=LAMBDA)
        assert chosen - rejected == pytest.approx([margin(pair) for pair in step], abs=1e-12)
        assert better - worse == pytest.approx([extrapolated(pair) for pair in step], abs=1e-11)
        assert by_identity == pytest.approx([extrapolated(pair) for pair in step], abs=1e-11)


def test_the_sound_threshold_and_its_losses_are_those_of_the_reading(steps: list[list[Pair]]) -> None:
    margins = [[extrapolated(pair) for pair in step] for step in steps]
    window, warmup = default_window(sum(map(len, margins))), warmup_steps(STEPS, percent=20)
    threshold = OnlineThreshold(noisy_percent=PERCENT, window=window, warmup_steps=warmup)
    expected = sound_decisions(margins, window)
    for step, ahead, noisy in zip(steps, margins, expected, strict=True):
        micro_batches = np.split(np.array(ahead), RANKS * MICRO_BATCHES)
        decided = np.concatenate([threshold.decide(part) for part in micro_batches])
        assert decided.tolist() == noisy
        check_losses([margin(pair) for pair in step], noisy)
        threshold.push(ahead)
    assert threshold.flagged == sum(map(sum, expected)) > 0


@pytest.mark.parametrize("rank", range(RANKS))
def test_the_parity_threshold_and_its_losses_are_those_of_the_reading(
    steps: list[list[Pair]], rank: int
) -> None:
    starts = range(rank * MICRO_BATCHES * PAIRS, (rank + 1) * MICRO_BATCHES * PAIRS, PAIRS)
    parts = [step[start : start + PAIRS] for step in steps for start in starts]
    margins = [[extrapolated(pair) for pair in part] for part in parts]
    threshold = ParityThreshold(noisy_percent=PERCENT, warmup_steps=warmup_steps(STEPS, percent=20))
    expected = parity_decisions(margins)
    for number, (part, ahead, noisy) in enumerate(zip(parts, margins, expected, strict=True), start=1):
        assert threshold.decide(ahead).tolist() == noisy
        check_losses([margin(pair) for pair in part], noisy)
        threshold.push(ahead)
        if number % MICRO_BATCHES == 0:
            threshold.end_step()
    assert threshold.flagged == sum(map(sum, expected)) > 0


def check_losses(margins: list[float], noisy: list[bool]) -> None:
    pairs = list(zip(margins, noisy, strict=True))
    found = noise_aware_loss(margins, smoothing=ALPHA, noisy=noisy)
    slopes = noise_aware_gradient(margins, smoothing=ALPHA, noisy=noisy)
    assert found == pytest.approx([loss(*pair) for pair in pairs], abs=1e-12)
    assert slopes == pytest.approx([slope(*pair) for pair in pairs], abs=1e-12)
