"""One run: does it get better, round by round, and what does that cost in length and KL?"""

from boards import NAMESPACE, Board, Panel, Row, Variable

_OF = '{namespace=~"$namespace", run="$run"}'


def _rounds(title: str, explanation: str, *families: tuple[str, str], unit: str = "short") -> Panel:
    """Bars, one for each round; each family has a word that tells it from the others of the panel."""
    queries = tuple(
        (f"max by (round) ({family}{_OF})", f"round {{{{round}}}} {word}".strip())
        for family, word in families
    )
    return Panel(title, explanation, queries, unit=unit, kind="bars")


def _live(title: str, explanation: str, family: str, unit: str = "short") -> Panel:
    query = (f"max by (step, round) ({family}{_OF})", "round {{round}} {{step}}")
    return Panel(title, explanation, (query,), unit=unit, width=6)


BOARD = Board(
    name="alignment",
    title="Selfie / Alignment",
    explanation="One run: does it get better, round by round, and what does that cost in length and KL? "
    "Round 0 is the seed. The run's report has intervals and tests; figures here are for watching.",
    variables=(
        NAMESPACE,
        Variable("run", 'label_values(selfie_run_info{namespace=~"$namespace"}, run)', several=False),
    ),
    rows=(
        Row(
            "Does it get better?",
            (
                _rounds(
                    "Held-out accuracy",
                    "Pairs on which the judge agrees with people, with its 95 % interval. A difference "
                    "that lies within it is none.",
                    ("selfie_round_heldout_accuracy_low_ratio", "at least"),
                    ("selfie_round_heldout_accuracy_ratio", ""),
                    ("selfie_round_heldout_accuracy_high_ratio", "at most"),
                    unit="percentunit",
                ),
                _rounds(
                    "Against what costs nothing",
                    "The judge per token, and always preferring the longer response.",
                    ("selfie_round_heldout_accuracy_per_token_ratio", "per token"),
                    ("selfie_round_heldout_longer_ratio", "the longer"),
                    unit="percentunit",
                ),
                _rounds(
                    "Judged otherwise than by the seed",
                    "Held-out pairs whose verdict differs from round 0's: no flip, no change of judge.",
                    ("selfie_round_heldout_flipped_ratio", ""),
                    unit="percentunit",
                ),
                _rounds(
                    "Calibration error",
                    "Expected calibration error: how far its confidence is from its accuracy.",
                    ("selfie_round_heldout_calibration_error_ratio", ""),
                    unit="percentunit",
                ),
                _rounds(
                    "Log-loss",
                    "On held-out pairs, in nats; 0.693 is a coin.",
                    ("selfie_round_heldout_log_loss_nats", ""),
                ),
                _rounds("Mean held-out margin", "In units of reward.", ("selfie_round_heldout_margin", "")),
                Panel(
                    "Best round",
                    "The highest accuracy that crossed no gate.",
                    ((f"max(selfie_run_best_round{_OF})", "round"),),
                    kind="number",
                ),
                _rounds("Gates crossed", "Their number.", ("selfie_round_breaches", "")),
                Panel(
                    "Held-out pairs",
                    "Few pairs establish little: 64 of them know an accuracy to about ±12 points.",
                    ((f"max by (round) (selfie_round_heldout_pairs{_OF})", "round {{round}}"),),
                    kind="number",
                ),
            ),
        ),
        Row(
            "What does it cost?",
            (
                _rounds(
                    "Length of responses",
                    "Mean tokens of the policy's responses, and of those drawn for the round's training.",
                    ("selfie_round_response_tokens", ""),
                    ("selfie_round_sampled_tokens", "drawn"),
                ),
                _rounds(
                    "Divergence from the initial model",
                    "Exact KL in nats a token.",
                    ("selfie_round_divergence_nats", ""),
                ),
                _rounds(
                    "Responses that end by themselves",
                    "The rest is cut at maxNewTokens.",
                    ("selfie_round_response_finished_ratio", ""),
                    unit="percentunit",
                ),
                _rounds(
                    "Repeated and empty responses",
                    "Signs of a collapse.",
                    ("selfie_round_response_duplicate_ratio", "repeated"),
                    ("selfie_round_response_empty_ratio", "empty"),
                    unit="percentunit",
                ),
                Panel(
                    "Tokens",
                    "Generated, scored and trained on.",
                    ((f"sum by (round, kind) (selfie_round_tokens{_OF})", "round {{round}} {{kind}}"),),
                    kind="bars",
                ),
                Panel(
                    "Accelerator-seconds",
                    "By step; 0 on processors.",
                    (
                        (
                            f"sum by (round, step) (selfie_step_accelerator_seconds{_OF})",
                            "round {{round}} {{step}}",
                        ),
                    ),
                    unit="s",
                    kind="bars",
                ),
            ),
        ),
        Row(
            "Its own labels",
            (
                Panel(
                    "Margins of self-made pairs",
                    "Quantiles of the judge's margins: what shrinks to nothing teaches nothing.",
                    (
                        (
                            f"max by (round, quantile) (selfie_round_margin{_OF})",
                            "round {{round}} q{{quantile}}",
                        ),
                    ),
                    kind="bars",
                ),
                _rounds(
                    "Confidence",
                    "Mean of 2·|p − ½|.",
                    ("selfie_round_confidence_ratio", ""),
                    unit="percentunit",
                ),
                Panel(
                    "Pairs by outcome",
                    "What the filter did with them.",
                    ((f"max by (round, outcome) (selfie_round_pairs{_OF})", "round {{round}} {{outcome}}"),),
                    kind="bars",
                ),
                _rounds(
                    "Kept by the filter",
                    "Of the pairs judged.",
                    ("selfie_round_kept_ratio", ""),
                    unit="percentunit",
                ),
                _rounds(
                    "Taken to be noisy",
                    "By the filter, and in training (z = 1). None in training: the detector was idle.",
                    ("selfie_round_noisy_ratio", "filter"),
                    ("selfie_round_training_noisy_ratio", "training"),
                    unit="percentunit",
                ),
                _rounds(
                    "Scorer against trainer",
                    "Largest difference of log-probabilities on the same ids, in nats, and what it may be.",
                    ("selfie_round_training_parity_error_nats", ""),
                    ("selfie_round_training_parity_bound_nats", "at most"),
                ),
            ),
        ),
        Row(
            "Training",
            (
                _rounds(
                    "Loss at the end", "Of the last optimizer step.", ("selfie_round_training_loss_nats", "")
                ),
                _rounds(
                    "Accuracy in training",
                    "Of the last epoch.",
                    ("selfie_round_training_accuracy_ratio", ""),
                    unit="percentunit",
                ),
                Panel(
                    "Duration of steps",
                    "Of the attempt that was published.",
                    (
                        (
                            f"max by (round, step) (selfie_step_duration_seconds{_OF})",
                            "round {{round}} {{step}}",
                        ),
                    ),
                    unit="s",
                    kind="bars",
                ),
                _live(
                    "Job: progress",
                    "Of whatever job is running.",
                    "selfie_training_progress_ratio",
                    "percentunit",
                ),
                _live("Job: time left", "As estimated from its steps.", "selfie_training_eta_seconds", "s"),
                _live("Job: loss", "Of the last step.", "selfie_training_loss_nats"),
                _live("Job: accuracy", "Of the last step.", "selfie_training_accuracy_ratio", "percentunit"),
                _live("Job: margin", "Of the last step.", "selfie_training_margin"),
                _live("Job: noisy pairs", "Of the last step.", "selfie_training_noisy_pairs"),
                _live("Job: tokens per second", "Since the start.", "selfie_training_tokens_per_second"),
                _live("Job: memory", "The most that it held.", "selfie_training_memory_bytes", "bytes"),
            ),
        ),
    ),
)
