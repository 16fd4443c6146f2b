"""What the engine counts for Prometheus, beside what every service counts of its calls."""

from prometheus_client import Counter, Gauge, Histogram

PROMPT_TOKENS = Counter("selfie_engine_prompt_tokens", "Prompt tokens computed, once for each prompt.")
RESPONSE_TOKENS = Counter("selfie_engine_response_tokens", "Tokens sampled.")
QUEUED_ROWS = Gauge("selfie_engine_queued_rows", "Responses that wait for a batch.")
BATCH_ROWS = Histogram(
    "selfie_engine_batch_rows", "Responses decoded together.", buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256)
)
BATCH_SECONDS = Histogram(
    "selfie_engine_batch_seconds", "Time of one batch.", buckets=(0.1, 0.3, 1, 3, 10, 30, 100, 300)
)
