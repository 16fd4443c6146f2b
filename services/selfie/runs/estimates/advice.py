"""Settings that a run of this size makes no sense with: each by its field, with what to write instead.

Nothing here is refused, because each can be meant. What cannot be run at all is refused when a
specification is read (`selfie.runs.combinations`).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import NormalDist

from selfie.method.noise import default_window, warmup_steps
from selfie.runs.estimates.data import HELDOUT, Case
from selfie.runs.estimates.estimating import RunEstimate
from selfie.runs.estimates.scenarios import LIKELY
from selfie.runs.estimates.work import training_pairs
from selfie.runs.resolving import settings_of
from selfie.runs.steps import Step
from selfie.runs.violations import Violation

LEAST_BATCHES = 4
"""Optimizer steps of a round below which a learning rate with warm-up and decay does little."""

DISCORDANCE = 0.2
"""Share of held-out pairs on which two rounds are taken to differ."""

SEEN_DIFFERENCE = 0.08
"""Difference in accuracy that a run's held-out pairs should be able to show, as a fraction."""

FEW_NEW_TOKENS = 48
"""Below this, most answers to ordinary questions are cut."""

ACCELERATOR_BYTES = 80e9
"""Memory of a common data-centre GPU."""


@dataclass(frozen=True)
class Machine:
    """What a machine has: processors, bytes of memory, and of free disk where the artifacts go, if there."""

    cores: int
    memory: float
    disk: float | None


@dataclass(frozen=True)
class Outlook:
    """A run, what it takes, and the machine that it is to run on; None if it runs elsewhere."""

    case: Case
    estimate: RunEstimate
    machine: Machine | None


def advice_on(outlook: Outlook) -> tuple[Violation, ...]:
    """Everything that is worth a second look, in the order of the specification's fields."""
    return tuple(found for check in _CHECKS for found in check(outlook))


def detectable_difference(pairs: int) -> float:
    """Difference in accuracy between two rounds that ``pairs`` show with 80 % power at the 5 % level.

    By the normal approximation of McNemar's test, at `DISCORDANCE`.
    """
    normal = NormalDist()
    return (normal.inv_cdf(0.975) + normal.inv_cdf(0.8)) * math.sqrt(DISCORDANCE / pairs)


def detector_steps(pairs: int, *, batch: int, epochs: int, window: int, warmup_percent: float) -> int:
    """Optimizer steps of a round in which `selfie.method.noise.OnlineThreshold` has a threshold."""
    per_epoch = math.ceil(pairs / batch)
    steps = epochs * per_epoch
    warm = warmup_steps(steps, percent=warmup_percent)
    seen = ((step // per_epoch) * pairs + (step % per_epoch) * batch for step in range(steps))
    return sum(step >= warm and done >= window for step, done in enumerate(seen))


def _heldout_shows_little(outlook: Outlook) -> Iterator[Violation]:
    seed = outlook.case.spec.seed
    if seed is None:
        return
    if HELDOUT not in outlook.case.data.pairs:
        yield Violation(
            "spec.seed.heldout", "is missing, so no round's judge is measured", "give labelled pairs"
        )
        return
    pairs = outlook.case.data.pairs[HELDOUT].rows
    if (shown := detectable_difference(pairs)) > SEEN_DIFFERENCE:
        enough = math.ceil(pairs * (shown / SEEN_DIFFERENCE) ** 2)
        yield Violation(
            "spec.seed.heldoutSize",
            f"is {pairs} pairs, which show a difference between two rounds from {100 * shown:.0f} points on "
            f"(80 % power, {100 * DISCORDANCE:.0f} % of the pairs judged differently)",
            f"give {enough} pairs for {100 * SEEN_DIFFERENCE:.0f} points, 1000 for 4, or claim no difference",
        )


def _rounds_have_few_pairs(outlook: Outlook) -> Iterator[Violation]:
    batch = outlook.case.spec.training.batch
    few = [(number, pairs) for number, pairs in _pairs(outlook) if pairs < LEAST_BATCHES * batch]
    if few:
        number, pairs = few[0]
        size = max(pairs // LEAST_BATCHES, 1)
        yield Violation(
            f"spec.rounds[{number - 1}].prompts.count",
            f"gives about {pairs} pairs, less than {LEAST_BATCHES} batches of {batch}{_and_others(len(few))}",
            f"give {math.ceil(LEAST_BATCHES * batch / LIKELY.kept_share)} prompts, "
            f"or lower spec.training.batch to {size}",
        )


def _responses_are_cut(outlook: Outlook) -> Iterator[Violation]:
    limit = outlook.case.spec.generation.max_new_tokens
    labelled = [pairs for pairs in outlook.case.data.pairs.values() if not pairs.assumed]
    longest = max(labelled, key=lambda pairs: pairs.response.mean, default=None)
    if longest is not None and longest.response.mean >= limit:
        problem = f"is {limit}, and labelled responses have {longest.response.mean:.0f} tokens in the mean"
        enough = math.ceil(longest.response.q95)
    elif limit < FEW_NEW_TOKENS:
        problem, enough = (
            f"is {limit}, which few answers to ordinary questions end within",
            2 * FEW_NEW_TOKENS,
        )
    else:
        return
    yield Violation(
        "spec.generation.maxNewTokens",
        f"{problem}: most would be cut, and winners that are cut are left out or teach the model not to stop",
        f"use {enough} or more",
    )


def _context_is_too_short(outlook: Outlook) -> Iterator[Violation]:
    context, data = outlook.case.policy.context, outlook.case.data
    known = (prompts for prompts in data.prompts.values() if not prompts.assumed)
    longest = max((prompts.prompt.longest for prompts in known), default=0)
    limit = outlook.case.spec.generation.max_new_tokens
    if context is not None and longest + limit > context:
        yield Violation(
            "spec.generation.maxPromptTokens",
            f"lets in {longest:.0f} tokens, which with {limit} new ones are more than the model's {context}",
            f"use at most {max(context - limit, 1)}",
        )


def _detector_never_acts(outlook: Outlook) -> Iterator[Violation]:
    spec, rules = outlook.case.spec, outlook.case.spec.filter
    if (
        spec.training.refinement != "online"
        or spec.training.threshold != "quantile"
        or not rules.noisy_percent
    ):
        return
    idle = []
    for number, pairs in _pairs(outlook):
        window = rules.window or default_window(pairs)
        epochs = settings_of(spec, number).epochs
        if not detector_steps(
            pairs,
            batch=spec.training.batch,
            epochs=epochs,
            window=window,
            warmup_percent=rules.warmup_percent,
        ):
            idle.append((number, pairs, window, epochs))
    if idle:
        number, pairs, window, epochs = idle[0]
        steps = epochs * math.ceil(pairs / spec.training.batch)
        yield Violation(
            "spec.filter.window",
            f"is {window} pairs, and round {number} has about {pairs} pairs in {steps} steps: "
            f"no label would ever be doubted{_and_others(len(idle))}",
            "choose a window and a spec.training.batch that leave some steps after window and "
            "warmupPercent, or write refinement none",
        )


def _memory_is_short(outlook: Outlook) -> Iterator[Violation]:
    if outlook.machine is None:
        return
    needed, there = outlook.estimate.peak(lambda figures: figures.machine_memory), outlook.machine.memory
    if needed.high <= there:
        return
    surely = needed.likely > there
    worst = max(outlook.estimate.steps, key=lambda entry: entry.figures[1].machine_memory)
    trains = "trainer" in worst.figures[1].memory
    yield Violation(
        "spec.microBatch" if trains else "spec.model.uri",
        f"{'needs' if surely else 'may need'} {needed.likely / 1e9:.1f} to {needed.high / 1e9:.1f} GB in "
        f"{worst.step.path}, and this machine has {there / 1e9:.1f}",
        "lower it, train adapters (spec.training.lora), or use a smaller model"
        if trains
        else "use a smaller model, or another machine",
    )


def _accelerator_is_small(outlook: Outlook) -> Iterator[Violation]:
    if not outlook.case.spec.gpus_per_node:
        return
    needed = outlook.estimate.peak(lambda figures: max(figures.memory.values(), default=0.0))
    if needed.likely > ACCELERATOR_BYTES:
        yield Violation(
            "spec.training.lora",
            f"is what may help: {needed.likely / 1e9:.0f} GB are needed on each device, and most have "
            f"{ACCELERATOR_BYTES / 1e9:.0f}",
            "train adapters, lower spec.microBatch, or place the run on larger devices",
        )


def _disk_is_short(outlook: Outlook) -> Iterator[Violation]:
    if outlook.machine is None or outlook.machine.disk is None:
        return
    unfinished = outlook.estimate.peak(lambda figures: figures.unfinished_disk).likely
    needed = outlook.estimate.disk.whole + unfinished
    if needed > outlook.machine.disk:
        yield Violation(
            "spec.artifacts.uri",
            f"has {outlook.machine.disk / 1e9:.1f} GB free, and the run leaves {needed / 1e9:.1f} GB there "
            f"({outlook.estimate.disk.with_retention / 1e9:.1f} GB with retention)",
            "name a larger disk or an object store, or run fewer rounds",
        )


def _pairs(outlook: Outlook) -> list[tuple[int, int]]:
    """Each round's number with the pairs that are likely trained on."""
    numbers = range(1, len(outlook.case.spec.rounds) + 1)
    return [(n, training_pairs(outlook.case, Step(n, "train"), LIKELY).count) for n in numbers]


def _and_others(count: int) -> str:
    return f" ({count} rounds alike)" if count > 1 else ""


_CHECKS: tuple[Callable[[Outlook], Iterator[Violation]], ...] = (
    _heldout_shows_little,
    _rounds_have_few_pairs,
    _context_is_too_short,
    _responses_are_cut,
    _detector_never_acts,
    _memory_is_short,
    _accelerator_is_small,
    _disk_is_short,
)
