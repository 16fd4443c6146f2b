"""What the controller of Kubernetes Jobs tells Prometheus."""

from prometheus_client import Counter

REQUESTS = Counter(
    "selfie_training_api_requests", "Requests to the API server.", ["verb", "resource", "code"]
)
CREATED = Counter("selfie_training_jobs_created", "Jobs made, by program.", ["program"])
ADOPTED = Counter(
    "selfie_training_jobs_adopted", "Jobs found where one was to be made, by program.", ["program"]
)
