"""The operator: does it lead, look and keep up?"""

from boards import NAMESPACE, Board, Panel, Row
from expressions import per_second, quantile

_OF = '{namespace=~"$namespace"}'
_RESTARTS = "selfie_operator_watch_restarts_total"
_STAGES = "selfie_round_stage_duration_seconds_bucket"
_PROCESS = '{namespace=~"$namespace", component="operator"}'

BOARD = Board(
    name="operator",
    title="Selfie / Operator",
    explanation="The operator: does it lead, look and keep up?",
    variables=(NAMESPACE,),
    rows=(
        Row(
            "Does it act?",
            (
                Panel(
                    "Leaders",
                    "One; none or two want somebody.",
                    ((f"sum by (namespace) (selfie_operator_is_leader{_OF})", "{{namespace}}"),),
                    kind="number",
                    width=6,
                    height=5,
                ),
                Panel(
                    "Silence of watches",
                    "A bookmark comes every minute: beyond 3 minutes a watch is dead.",
                    (
                        (
                            f"time() - selfie_operator_watch_last_event_timestamp_seconds{_OF}",
                            "{{resource}} {{pod}}",
                        ),
                    ),
                    unit="s",
                    width=18,
                    height=5,
                ),
                Panel(
                    "Looks",
                    "By result.",
                    ((per_second("selfie_operator_reconcile_total", _OF, "result"), "{{result}}"),),
                    unit="ops",
                ),
                Panel(
                    "Time of a look",
                    "Half of them take less, 99 % take less.",
                    tuple(
                        (
                            quantile(share, "selfie_operator_reconcile_duration_seconds", _OF),
                            f"{share}",
                        )
                        for share in (0.5, 0.99)
                    ),
                    unit="s",
                ),
                Panel(
                    "Looks tried again",
                    "After an error.",
                    ((f"sum(rate(selfie_operator_retries_total{_OF}[5m]))", "retries"),),
                    unit="ops",
                ),
            ),
        ),
        Row(
            "Does it keep up?",
            (
                Panel(
                    "Runs that wait for a worker",
                    "",
                    ((f"sum by (pod) (selfie_operator_queue_depth{_OF})", "{{pod}}"),),
                ),
                Panel(
                    "The first of them has waited",
                    "",
                    ((f"max by (pod) (selfie_operator_queue_oldest_seconds{_OF})", "{{pod}}"),),
                    unit="s",
                ),
                Panel(
                    "Event loop lag",
                    "What is held up can neither watch nor renew the Lease.",
                    ((f"max by (pod) (selfie_operator_event_loop_lag_seconds{_OF})", "{{pod}}"),),
                    unit="s",
                ),
                Panel(
                    "Memory",
                    "",
                    ((f"max by (pod) (process_resident_memory_bytes{_PROCESS})", "{{pod}}"),),
                    unit="bytes",
                ),
                Panel(
                    "Processor",
                    "In cores.",
                    ((f"sum by (pod) (rate(process_cpu_seconds_total{_PROCESS}[5m]))", "{{pod}}"),),
                ),
                Panel(
                    "Kubernetes Events",
                    "By what became of them.",
                    ((per_second("selfie_operator_events_total", _OF, "result"), "{{result}}"),),
                    unit="ops",
                ),
            ),
        ),
        Row(
            "The API server",
            (
                Panel(
                    "Requests",
                    "By verb and resource.",
                    (
                        (
                            per_second("selfie_operator_api_requests_total", _OF, "verb, resource"),
                            "{{verb}} {{resource}}",
                        ),
                    ),
                    unit="ops",
                ),
                Panel(
                    "Answers",
                    "By code; `error` is none at all.",
                    ((per_second("selfie_operator_api_requests_total", _OF, "code"), "{{code}}"),),
                    unit="ops",
                ),
                Panel(
                    "Watches begun anew",
                    "By reason.",
                    (
                        (
                            f"sum by (resource, reason) (increase({_RESTARTS}{_OF}[1h]))",
                            "{{resource}} {{reason}}",
                        ),
                    ),
                ),
                Panel(
                    "Requests of the training controller",
                    "By verb, resource and code.",
                    (
                        (
                            per_second("selfie_training_api_requests_total", _OF, "verb, resource, code"),
                            "{{verb}} {{resource}} {{code}}",
                        ),
                    ),
                    unit="ops",
                ),
            ),
        ),
        Row(
            "Runs and jobs",
            (
                Panel(
                    "Runs by phase",
                    "Each run of the namespace is in one of them, also those that ended long ago.",
                    ((f"sum by (phase) (selfie_runs{_OF})", "{{phase}}"),),
                ),
                Panel(
                    "Duration of stages",
                    "Of those that ended in the last day; 95 % of them took less.",
                    (
                        (
                            f"histogram_quantile(0.95, sum by (le, stage) (increase({_STAGES}{_OF}[1d])))",
                            "{{stage}}",
                        ),
                    ),
                    unit="s",
                ),
                Panel(
                    "Jobs",
                    "Made in the last hour, and found where one was to be made, as after a crash.",
                    (
                        (
                            f"sum by (program) (increase(selfie_training_jobs_created_total{_OF}[1h]))",
                            "{{program}}",
                        ),
                        (
                            f"sum by (program) (increase(selfie_training_jobs_adopted_total{_OF}[1h]))",
                            "{{program}} found",
                        ),
                    ),
                ),
            ),
        ),
    ),
)
