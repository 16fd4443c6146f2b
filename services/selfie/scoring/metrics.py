"""What the scoring service tells Prometheus about itself, beside what every service tells of its calls."""

from prometheus_client import Counter, Gauge, Histogram, Info

from selfie.scoring.core import Scorer

_NAME = "selfie_scoring"

WAITING_CALLS = Gauge(f"{_NAME}_waiting_calls", "Online calls that wait for the engine, or are in it.")
WAITING_TOKENS = Gauge(f"{_NAME}_waiting_tokens", "Tokens that they come to.")
WAITED = Histogram(f"{_NAME}_waited_seconds", "Time that an online call waited for its first turn.")
BATCH_FILL = Histogram(
    f"{_NAME}_batch_fill",
    "Tokens computed at once for online calls, as a share of the token budget.",
    buckets=(0.0625, 0.125, 0.25, 0.5, 0.75, 0.9, 1.0, 2.0, 4.0, 8.0),
)
TOKENS = Counter(f"{_NAME}_tokens", "Tokens computed, the prompt once a turn.", ["kind"])
REMEMBERED = Counter(f"{_NAME}_remembered", "Responses looked up among those scored before.", ["result"])
PROMPTS = Counter(f"{_NAME}_prompts", "Prompts looked up among those computed before.", ["result"])
PROMPT_BYTES = Gauge(f"{_NAME}_prompt_bytes", "Memory that prompts are kept in.")
PAIRS = Counter(f"{_NAME}_weight_pairs", "Pairs of weights that calls named, by what was done.", ["result"])
PAIR_BYTES = Gauge(f"{_NAME}_weight_pair_bytes", "Memory of those pairs.")
RESPONSES = Counter(
    f"{_NAME}_responses", "Responses of online calls, by the mode that their score is of.", ["mode"]
)
RESCORED = Counter(f"{_NAME}_rescored_pairs", "Pairs that `auto` scored again, exactly.")
AHEAD = Counter(
    f"{_NAME}_shards_ahead",
    "Shards scored before their samples were published, or taken over then.",
    ["result"],
)
SHARES_PROMPTS = Gauge(
    f"{_NAME}_shares_prompts", "1 where a prompt is computed once for all its responses, else 0."
)
MODE = Info(f"{_NAME}_mode", "What the numbers rest on: precision, and the digests of the weights.")


def tell_mode(scorer: Scorer) -> None:
    """Says which weights judge, how exactly."""
    found = scorer.provenance
    MODE.info(
        {
            "precision": found.precision,
            "policy": found.policy_digest,
            "reference": found.reference_digest,
            "calibration": scorer.calibration.id if scorer.calibration else "",
        }
    )
    SHARES_PROMPTS.set(getattr(scorer.engine, "shares_prompts", False))
