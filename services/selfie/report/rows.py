"""The rows of the report's tables, each with what it means to a reader who meets it first."""

from dataclasses import dataclass

from selfie.report.cells import (
    NOTHING,
    Cell,
    controlled_wins,
    detector,
    estimate,
    gain,
    measure,
    number,
    percent,
    percent_of,
    quantiles,
    raw_wins,
    removed,
    share,
    trained,
)


@dataclass(frozen=True)
class Row:
    """One figure of every round."""

    label: str
    explanation: str
    cell: Cell


RESPONSES = (
    Row(
        "finished share",
        "Responses that ended by themselves, not at the limit.",
        percent_of("evaluate-measures", "finished_share"),
    ),
    Row("mean length", "Tokens of a response.", measure("evaluate-measures", "mean_tokens", 1)),
    Row(
        "divergence from π_init",
        "Exact KL per token, from both models' distributions, in nats.",
        measure("evaluate-measures", "divergence", 4),
    ),
    Row(
        "duplicate share",
        "Responses that repeat another one word for word.",
        percent_of("evaluate-measures", "duplicate_share"),
    ),
    Row("empty share", "Responses without text.", percent_of("evaluate-measures", "empty_share")),
    Row(
        "evaluator's mean",
        "Mean rating by an evaluator that is not the policy, with a bootstrap interval.",
        lambda facts: NOTHING if facts.quality is None else estimate(facts.quality.mean),
    ),
    Row(
        "evaluator, against the seed",
        "Mean difference on the same prompts, with its interval.",
        lambda facts: (
            NOTHING
            if facts.quality is None or facts.quality.against_seed is None
            else gain(facts.quality.against_seed)
        ),
    ),
    Row(
        "wins against the seed",
        "Prompts whose response the evaluator rates higher; a tie counts half.",
        raw_wins("seed"),
    ),
    Row(
        "length-controlled wins against the seed",
        "The same at equal length, by logistic regression on the difference; bootstrap over prompts.",
        controlled_wins("seed"),
    ),
    Row("wins against π_init", "Against the responses of the initial model.", raw_wins("initial")),
    Row("length-controlled wins against π_init", "The same at equal length.", controlled_wins("initial")),
)

SELF_MADE = (
    Row("responses drawn", "From the policy of the round before.", measure("generate", "samples", 0)),
    Row(
        "finished · mean tokens",
        "Of the drawn responses.",
        lambda facts: (
            f"{percent(facts.measure('generate', 'finished_share'))} · "
            f"{number(facts.measure('generate', 'mean_tokens'), 1)}"
        ),
    ),
    Row("pairs judged", "One of each prompt, at most.", measure("score", "pairs", 0)),
    Row(
        "ties · identical · unfinished",
        "Prompts without a pair: margins within the judge's own error, equal responses, fewer than two "
        "responses that ended by themselves.",
        lambda facts: " · ".join(
            number(facts.measure("score", outcome), 0) for outcome in ("ties", "identical", "unfinished")
        ),
    ),
    Row("margins: 10 % · median · 90 %", "Quantiles of the judge's margins.", quantiles),
    Row(
        "labels for the longer",
        "Kept pairs whose label prefers the response with more tokens; far from 50 %, length has a say.",
        lambda facts: share(facts.longer),
    ),
    Row(
        "largest error of a log-probability",
        "Bound of the numerical error, in nats; margins within theirs are ties.",
        measure("score", "error_bound_max", 5),
    ),
    Row("mean confidence", "2·|p − ½| of the judge's preferences.", measure("score", "mean_confidence", 3)),
    Row("pairs trained on", "What the filter kept.", measure("filter", "kept", 0)),
    Row("left out", "And why.", removed),
    Row(
        "suspected by the filter",
        "Least sure, or judged differently by the extrapolated model.",
        measure("filter", "noisy", 0),
    ),
    Row(
        "taken to be noisy in training",
        "Times a pair had z = 1. None means that the detector was idle.",
        detector,
    ),
    Row(
        "training loss, first → last",
        "Mean over a step's pairs.",
        lambda facts: f"{number(trained(facts, 'loss_first'), 3)} → {number(trained(facts, 'loss_last'), 3)}",
    ),
    Row(
        "training accuracy",
        "Share of pairs with a positive margin over the whole round.",
        lambda facts: percent(trained(facts, "train_accuracy")),
    ),
    Row(
        "scorer against trainer",
        "Largest difference of log-probabilities on the same ids, in nats.",
        measure("train", "parity_max_error", 5),
    ),
)

AUDIT = (
    Row(
        "self-made labels right",
        "Pairs whose label the evaluator agrees with.",
        lambda facts: share(facts.audit.labels if facts.audit else None),
    ),
    Row(
        "wrong among suspected",
        "Of the pairs that the filter suspected.",
        lambda facts: share(facts.audit.wrong_if_noisy if facts.audit else None),
    ),
    Row(
        "wrong among the others",
        "A detector is worth something where this is lower.",
        lambda facts: share(facts.audit.wrong_otherwise if facts.audit else None),
    ),
    Row(
        "wrong among z = 1",
        "Of the pairs that training took to be noisy at least once.",
        lambda facts: share(facts.audit.wrong_if_trained_noisy if facts.audit else None),
    ),
    Row(
        "wrong among z = 0",
        "Of the others.",
        lambda facts: share(facts.audit.wrong_if_trained_clean if facts.audit else None),
    ),
)
