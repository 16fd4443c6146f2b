"""What the generation service counts for Prometheus, beside what every service counts of its calls."""

from collections.abc import Sequence

from prometheus_client import Counter

from selfie.generation.engines import Sample

SAMPLES = Counter(
    "selfie_generation_samples",
    "Responses that engines gave for data sets, by how they ended and where their ids come from.",
    ["finish_reason", "ids_from"],
)
TOKENS = Counter("selfie_generation_tokens", "Tokens of those responses.")


def count_samples(samples: Sequence[Sample]) -> None:
    """Counts responses as they come from an engine; some may be thrown away with their shard."""
    for sample in samples:
        SAMPLES.labels(sample.finish_reason, sample.ids_from).inc()
    TOKENS.inc(sum(len(sample.response_ids) for sample in samples))
