"""What is tried out on a machine to learn its rates: small batches of the run's own kinds of work.

A trial is as large as the run's own batches, and smaller where it would exceed `TRIAL_SECONDS` by the
assumed rates. What would take too long or too much memory all the same is not tried.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Final, TypeAlias, TypeVar

from selfie.runs.estimates import flops
from selfie.runs.estimates.data import Case
from selfie.runs.estimates.memory import (
    SCORED_TOKENS,
    Footprint,
    ProcessKind,
    engine_footprint,
    scoring_footprint,
    trainer_footprint,
)
from selfie.runs.estimates.rates import Rates
from selfie.runs.estimates.scenarios import LIKELY
from selfie.runs.estimates.shapes import ModelShape
from selfie.runs.estimates.work import ENGINE_ROWS, is_extrapolated, self_made
from selfie.runs.method_fields import PrecisionName
from selfie.runs.resolving import pairs_at_once, settings_of
from selfie.runs.steps import Step

TRIAL_SECONDS: Final = 6.0
"""Longest time of what is timed in a trial that can be made smaller."""

MOST_SECONDS: Final = 20.0
"""Beyond which the smallest trial, or the loading of its weights, is given up."""

_SHORTEST = 8
_FIRST_ROUND = Step(1, "train")


@dataclass(frozen=True, kw_only=True)
class ScoringTrial:
    """One batch under two models: ``responses`` to each of ``prompts``, extrapolated by ``lam``."""

    name: ClassVar[str] = "scoring"
    kind: ClassVar[ProcessKind] = "scoring"
    copies: ClassVar[int] = 2

    prompts: int
    responses: int
    prompt_tokens: int
    response_tokens: int
    lam: float

    def operations(self, shape: ModelShape) -> float:
        each = flops.scored(shape, self.prompt_tokens, self.response_tokens, self.responses)
        return 2 * self.prompts * each

    def seconds(self, shape: ModelShape, rates: Rates) -> float:
        return self.operations(shape) / rates.scoring

    def footprint(self, shape: ModelShape) -> Footprint:
        tokens = self.prompts * (self.prompt_tokens + self.responses * self.response_tokens)
        return scoring_footprint(shape, shape, tokens=tokens)

    def smaller(self) -> "ScoringTrial | None":
        if self.prompts > 1:
            return replace(self, prompts=self.prompts // 2)
        if self.responses > 2:
            return replace(self, responses=self.responses // 2)
        return _shorter(self)


@dataclass(frozen=True, kw_only=True)
class SamplingTrial:
    """Decoding of ``rows`` responses to one prompt, then of ``few_rows``, some ``steps`` each."""

    name: ClassVar[str] = "sampling"
    kind: ClassVar[ProcessKind] = "engine"
    copies: ClassVar[int] = 1

    rows: int
    few_rows: int
    prompt_tokens: int
    steps: int = 6

    def operations(self, shape: ModelShape) -> float:
        decoding = self.steps * (self.rows + self.few_rows) * self.of_a_token(shape)
        return 2 * flops.forward(shape, 1, self.prompt_tokens) + decoding

    def of_a_token(self, shape: ModelShape) -> float:
        """Operations of one row in one decoding step."""
        seen = self.prompt_tokens + self.steps / 2
        return flops.blocks(shape, 1) + flops.attention(shape, 1, seen) + flops.head(shape, 1)

    def seconds(self, shape: ModelShape, rates: Rates) -> float:
        prefill = 2 * flops.forward(shape, 1, self.prompt_tokens) / rates.scoring
        decoding = self.steps * (self.rows + self.few_rows) * self.of_a_token(shape) / rates.decoding
        return prefill + decoding + 2 * self.steps * rates.decoding_step

    def footprint(self, shape: ModelShape) -> Footprint:
        tokens = self.prompt_tokens + self.steps
        return engine_footprint(shape, rows=self.rows, tokens=tokens, prefill=self.prompt_tokens)

    def smaller(self) -> "SamplingTrial | None":
        if self.rows > 2:
            return replace(self, rows=self.rows // 2, few_rows=max(self.rows // 16, 1))
        return replace(self, steps=self.steps - 1) if self.steps > 2 else None


@dataclass(frozen=True, kw_only=True)
class TrainingTrial:
    """Two optimizer steps of ``pairs``, and with ``lam`` the log-partition of some positions by itself.

    The second step is the one that is timed: the first makes AdamW's moments.
    """

    name: ClassVar[str] = "training"
    kind: ClassVar[ProcessKind] = "trainer"
    copies: ClassVar[int] = 2

    pairs: int
    prompt_tokens: int
    response_tokens: int
    lora_rank: int
    lora_alpha: int
    lam: float
    positions: int = 256
    precision: PrecisionName = "float32"

    def operations(self, shape: ModelShape) -> float:
        rows, scored = 2 * self.pairs, 2 * self.pairs * self.response_tokens
        tokens = self.prompt_tokens + self.response_tokens
        learned = flops.learned(shape, rows, tokens, scored, kind="adapters" if self.lora_rank else "full")
        return learned + flops.forward(shape, rows, tokens) + flops.head(shape, scored)

    def of_the_partition(self, shape: ModelShape) -> float:
        """Operations of the log-partition that is timed by itself."""
        return 2 * flops.head(shape, self.positions)

    def seconds(self, shape: ModelShape, rates: Rates) -> float:
        partition = self.of_the_partition(shape) / rates.partition if self.lam else 0.0
        return 2 * (self.operations(shape) / rates.training + rates.update) + partition

    def footprint(self, shape: ModelShape) -> Footprint:
        tokens = 2 * self.pairs * (self.prompt_tokens + self.response_tokens)
        return trainer_footprint(shape, tokens=tokens, rank=self.lora_rank)

    def smaller(self) -> "TrainingTrial | None":
        if self.pairs > 1:
            return replace(self, pairs=self.pairs // 2, positions=max(self.positions // 2, 32))
        return _shorter(self)


AnyTrial: TypeAlias = ScoringTrial | SamplingTrial | TrainingTrial
"""Each knows, by a model's shape, the ``operations`` of what is timed, its ``seconds`` by some rates and its
``footprint``, and with ``smaller`` the same with less work. Called by ``name``, it is made in a
process like those of ``kind``, with so many ``copies`` of the weights.
"""

_T = TypeVar("_T", ScoringTrial, SamplingTrial, TrainingTrial)
_Texts = TypeVar("_Texts", ScoringTrial, TrainingTrial)


@dataclass(frozen=True)
class Trials:
    """What to try; None for what is not tried, and why in ``skipped``."""

    scoring: ScoringTrial | None
    sampling: SamplingTrial | None
    training: TrainingTrial | None
    skipped: tuple[str, ...] = ()


def trials_for(case: Case, rates: Rates, *, memory: float) -> Trials:
    """The trials for a run on a machine of ``memory`` bytes, by the rates that are assumed of it."""
    whole = whole_trials(case)
    skipped: list[str] = []

    def fitted(trial: _T | None) -> _T | None:
        if trial is None:
            return None
        found = _fitted(trial, case.policy, rates)
        why = _against(found, case.policy, rates, memory)
        skipped.extend([why] if why else [])
        return None if why else found

    scoring, sampling, training = fitted(whole.scoring), fitted(whole.sampling), fitted(whole.training)
    return Trials(scoring, sampling, training, tuple(skipped))


def whole_trials(case: Case) -> Trials:
    """Trials as large as the batches of the run's first round."""
    spec, prompts = case.spec, case.data.prompts_of(_FIRST_ROUND)
    responses, lora = spec.generation.samples_per_prompt, spec.training.lora
    prompt, response = round(prompts.prompt.mean), round(self_made(case, LIKELY).mean)
    settings = settings_of(spec, 1)
    scoring = ScoringTrial(
        prompts=max(SCORED_TOKENS // (prompt + responses * response), 1),
        responses=responses,
        prompt_tokens=prompt,
        response_tokens=response,
        lam=settings.scoring_lambda,
    )
    rows = min(ENGINE_ROWS, prompts.rows * responses)
    sampling = SamplingTrial(rows=rows, few_rows=max(rows // 8, 1), prompt_tokens=prompt)
    training = TrainingTrial(
        pairs=pairs_at_once(spec),
        prompt_tokens=prompt,
        response_tokens=response,
        lora_rank=lora.rank if lora else 0,
        lora_alpha=lora.alpha if lora else 0,
        lam=settings.lambda_ if is_extrapolated(case, _FIRST_ROUND) else 0.0,
        precision=spec.training.precision,
    )
    return Trials(scoring, sampling, training)


def _fitted(trial: _T, shape: ModelShape, rates: Rates) -> _T:
    while trial.seconds(shape, rates) > TRIAL_SECONDS and (less := trial.smaller()) is not None:
        trial = less
    return trial


def _against(trial: AnyTrial, shape: ModelShape, rates: Rates, memory: float) -> str:
    """Why it is not tried; empty if it is."""
    needed = trial.footprint(shape).peak(LIKELY)
    loading = trial.copies * shape.weight_bytes * rates.load
    longest = max(trial.seconds(shape, rates), loading)
    if needed > 0.8 * memory:
        return f"{trial.name} was not measured: it needs about {needed / 1e9:.0f} GB"
    if longest > MOST_SECONDS:
        return f"{trial.name} was not measured: it would take about {longest:.0f} s"
    return ""


def _shorter(trial: _Texts) -> _Texts | None:
    if max(trial.prompt_tokens, trial.response_tokens) <= _SHORTEST:
        return None
    prompt, response = trial.prompt_tokens // 2, trial.response_tokens // 2
    return replace(trial, prompt_tokens=max(prompt, _SHORTEST), response_tokens=max(response, _SHORTEST))
