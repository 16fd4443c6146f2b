"""What the filtering service counts for Prometheus, beside what every service counts of its calls."""

from collections.abc import Mapping

from prometheus_client import Counter

PAIRS = Counter(
    "selfie_filtering_pairs",
    "Pairs of data sets by what was found of them; one may be counted twice.",
    ["outcome"],
)


def count_pairs(counts: Mapping[str, int]) -> None:
    """Counts one data set."""
    for outcome, count in counts.items():
        PAIRS.labels(outcome).inc(count)
