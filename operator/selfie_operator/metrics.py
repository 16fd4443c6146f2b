"""What the operator tells Prometheus about itself."""

from prometheus_client import Counter, Gauge, Histogram

RECONCILES = Counter("selfie_operator_reconcile", "Looks at a run, by result.", ["result"])
RECONCILE_SECONDS = Histogram(
    "selfie_operator_reconcile_duration_seconds",
    "Time for one look at a run.",
    buckets=(0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120),
)
RETRIES = Counter("selfie_operator_retries", "Looks that failed and are tried again.")
QUEUE_DEPTH = Gauge("selfie_operator_queue_depth", "Runs that wait for a worker.")
QUEUE_OLDEST = Gauge("selfie_operator_queue_oldest_seconds", "Time that the first of them has waited.")
API_REQUESTS = Counter(
    "selfie_operator_api_requests",
    "Requests to the API server; code 'error' where no answer came.",
    ["verb", "resource", "code"],
)
LEADER = Gauge("selfie_operator_is_leader", "Whether this process holds the Lease.")
WATCH_LAST_EVENT = Gauge(
    "selfie_operator_watch_last_event_timestamp_seconds",
    "When something last came of a watch: a change, a bookmark or a list.",
    ["resource"],
)
WATCH_RESTARTS = Counter(
    "selfie_operator_watch_restarts", "Watches and lists that failed, by reason.", ["resource", "reason"]
)
LOOP_LAG = Gauge("selfie_operator_event_loop_lag_seconds", "How late the event loop last ran a timer.")
EVENTS = Counter("selfie_operator_events", "Kubernetes Events, by what became of them.", ["result"])


def count_request(verb: str, resource: str, code: str) -> None:
    """Counts one request to the API server."""
    API_REQUESTS.labels(verb, resource, code).inc()
