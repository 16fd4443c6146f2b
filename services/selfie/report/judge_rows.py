"""The rows on the judge: a short table to read first, and a long one for who doubts it."""

from selfie.report.cells import number, p_value, percent, percent_of, signed
from selfie.report.comparisons import Comparison
from selfie.report.heldout import READINGS, Reading, RivalName
from selfie.report.judge_cells import (
    accuracy_on,
    against_rival,
    against_seed,
    comparison,
    judge_figure,
    share_of_part,
    with_interval,
)
from selfie.report.rows import Row

_SUMMED, _MEAN = READINGS

HELDOUT = (
    Row(
        "accuracy, summed judge",
        "Share of people's choices that the implicit reward, summed over tokens, agrees with; "
        "a tie counts half. 95 % Wilson interval.",
        with_interval("accuracy_sum"),
    ),
    Row("accuracy, length-normalised", "The same with the reward per token.", with_interval("accuracy_mean")),
    Row(
        "accuracy on the report half",
        "As the run reads its rewards, on the half of the pairs that does not choose the best round: "
        "what to quote of that round.",
        share_of_part("report"),
    ),
    Row(
        "against the seed, summed",
        "Difference in points on the same pairs with its bootstrap interval; pairs that only "
        "this round : only the seed got right, and the exact McNemar p.",
        against_seed(_SUMMED),
    ),
    Row("against the seed, normalised", "The same for the length-normalised judge.", against_seed(_MEAN)),
    Row(
        "chance",
        "What a coin would get.",
        lambda facts: percent(None if facts.measure("evaluate-heldout", "accuracy") is None else 0.5),
    ),
    Row(
        "prefer the longer",
        "What always choosing the longer response would get.",
        percent_of("evaluate-heldout", "accuracy_longer"),
    ),
    Row(
        "π_init's own likelihood, per token",
        "What the initial model's mean log-likelihood alone would choose.",
        percent_of("evaluate-heldout", "accuracy_reference_mean"),
    ),
)

_RIVALS: dict[RivalName, str] = {
    "chance": "a coin",
    "longer": "prefer the longer",
    "referenceSum": "the reference's likelihood, summed",
    "referenceMean": "the reference's likelihood, per token",
}
"""As people call them."""


def _loss(found: Comparison) -> str:
    return signed(found.parts["all"].log_loss)


def details(reading: Reading) -> tuple[Row, ...]:
    """What the rows of the pairs say of the judge in one reading of its rewards."""
    return (*_parts(reading), *_against_seed(reading), *_probabilities(reading), *_rivals(reading))


def _parts(reading: Reading) -> tuple[Row, ...]:
    return (
        Row(
            "report half",
            "Accuracy on the pairs that do not choose the best round.",
            accuracy_on(reading, "report"),
        ),
        Row(
            "length-matched",
            "Accuracy where the two lengths are within 15 % of each other.",
            accuracy_on(reading, "lengthMatched"),
        ),
        Row(
            "chosen is the shorter",
            "Accuracy where people chose the shorter response.",
            accuracy_on(reading, "chosenShorter"),
        ),
    )


def _against_seed(reading: Reading) -> tuple[Row, ...]:
    return (
        Row(
            "against the seed, after Holm",
            "The exact p on all pairs, adjusted for every comparison with the seed in this run.",
            comparison(reading, lambda found: p_value(found.p_value)),
        ),
        Row(
            "against the seed, report half",
            "The difference in points on that half alone.",
            against_seed(reading, "report"),
        ),
        Row(
            "against the seed, length-matched",
            "On the length-matched pairs.",
            against_seed(reading, "lengthMatched"),
        ),
        Row(
            "against the seed, chosen is the shorter",
            "On the pairs whose chosen response is the shorter one.",
            against_seed(reading, "chosenShorter"),
        ),
    )


def _probabilities(reading: Reading) -> tuple[Row, ...]:
    return (
        Row(
            "log-loss",
            "Mean −log p of people's choices; 0.693 knows nothing.",
            judge_figure(reading, lambda figures: number(figures.log_loss, 3)),
        ),
        Row(
            "log-loss against the seed",
            "Difference on the same pairs with its bootstrap interval; below 0 is better.",
            comparison(reading, _loss),
        ),
        Row(
            "calibration error",
            "How far the judge's probabilities are from its hit rate (ECE).",
            judge_figure(reading, lambda figures: number(figures.calibration_error, 3)),
        ),
        Row(
            "mean margin",
            "Mean difference of rewards, in favour of people's choices.",
            judge_figure(reading, lambda figures: number(figures.mean_margin, 3)),
        ),
    )


def _rivals(reading: Reading) -> tuple[Row, ...]:
    return tuple(
        Row(
            f"against {name}",
            "Difference in points on the same pairs, right only here : only there, exact p.",
            against_rival(reading, rival),
        )
        for rival, name in _RIVALS.items()
    )
