"""What answers: generation with its engine, the scorer, and what all services have in common."""

from boards import NAMESPACE, Board, Panel, Row
from expressions import per_second, quantile

_OF = '{namespace=~"$namespace"}'
_SCORER = '{namespace=~"$namespace", method=~"selfie.v1.ScoringService/(Score|Compare|Rank)"}'
_EXPIRY = "selfie_certificate_expiry_timestamp_seconds"
_CALLS = "selfie_grpc_handled_total"
_SHED = _SCORER.replace("}", ', code="RESOURCE_EXHAUSTED"}')


def _quantiles(family: str, labels: str = _OF) -> tuple[tuple[str, str], ...]:
    return tuple((quantile(share, family, labels), str(share)) for share in (0.5, 0.95, 0.99))


def _rate(title: str, explanation: str, family: str, by: str = "", unit: str = "ops") -> Panel:
    words = " ".join(f"{{{{{name.strip()}}}}}" for name in by.split(",")) if by else "all"
    return Panel(title, explanation, ((per_second(family, _OF, by), words),), unit=unit)


def _now(title: str, explanation: str, family: str, by: str = "pod", unit: str = "short") -> Panel:
    words = " ".join(f"{{{{{name.strip()}}}}}" for name in by.split(","))
    return Panel(title, explanation, ((f"sum by ({by}) ({family}{_OF})", words),), unit=unit)


def _times(title: str, explanation: str, family: str) -> Panel:
    return Panel(title, explanation, _quantiles(family), unit="s")


BOARD = Board(
    name="serving",
    title="Selfie / Serving",
    explanation="What answers: the scorer, generation and its engine (Selfie's own, TGI or vLLM).",
    variables=(NAMESPACE,),
    rows=(
        Row(
            "All services",
            (
                _rate("Calls", "By method and code.", "selfie_grpc_handled_total", "method, code"),
                Panel(
                    "Time to answer",
                    "99 % of the calls of a method take less.",
                    (
                        (
                            quantile(0.99, "selfie_grpc_handling_seconds", _OF, ", method"),
                            "{{method}}",
                        ),
                    ),
                    unit="s",
                ),
                _now("Calls in flight", "", "selfie_grpc_in_flight", "method"),
                _rate(
                    "Calls refused",
                    "With an error of ours, by its reason.",
                    "selfie_grpc_refused_total",
                    "reason",
                ),
                _now("Batch operations at work", "", "selfie_operations_running", "method"),
                _rate(
                    "Artifact store: errors",
                    "What is absent is none.",
                    "selfie_store_errors_total",
                    "scheme, reason",
                ),
                Panel(
                    "Memory",
                    "",
                    (
                        (
                            f"sum by (component, pod) (process_resident_memory_bytes{_OF})",
                            "{{component}} {{pod}}",
                        ),
                    ),
                    unit="bytes",
                ),
                Panel(
                    "Processor",
                    "In cores.",
                    (
                        (
                            f"sum by (component, pod) (rate(process_cpu_seconds_total{_OF}[5m]))",
                            "{{component}} {{pod}}",
                        ),
                    ),
                ),
                Panel(
                    "Certificates: time left",
                    "",
                    (
                        (
                            f"min by (pod, certificate) ({_EXPIRY}{_OF}) - time()",
                            "{{pod}} {{certificate}}",
                        ),
                    ),
                    unit="s",
                ),
            ),
        ),
        Row(
            "Scorer",
            (
                Panel(
                    "Calls a second",
                    "By method and code.",
                    (
                        (
                            f"sum by (method, code) (rate(selfie_grpc_handled_total{_SCORER}[5m]))",
                            "{{method}} {{code}}",
                        ),
                    ),
                    unit="ops",
                ),
                Panel(
                    "Time to answer",
                    "",
                    _quantiles("selfie_grpc_handling_seconds", _SCORER),
                    unit="s",
                ),
                Panel(
                    "Shed calls",
                    "Share of calls that were refused for want of room.",
                    (
                        (
                            f"({per_second(_CALLS, _SHED)} or vector(0)) / {per_second(_CALLS, _SCORER)}",
                            "shed",
                        ),
                    ),
                    unit="percentunit",
                ),
                _now("Calls that wait", "", "selfie_scoring_waiting_calls"),
                _now("Tokens that wait", "", "selfie_scoring_waiting_tokens"),
                _times("Wait for the first turn", "", "selfie_scoring_waited_seconds"),
                Panel(
                    "How full batches are",
                    "Share of the token budget.",
                    _quantiles("selfie_scoring_batch_fill"),
                    unit="percentunit",
                ),
                _rate("Tokens computed", "", "selfie_scoring_tokens_total", "kind", "short"),
                _rate("Remembered responses", "", "selfie_scoring_remembered_total", "result"),
                Panel(
                    "Weights",
                    "What the numbers rest on.",
                    ((f"max by (pod, precision, policy, reference) (selfie_scoring_mode_info{_OF})", ""),),
                    kind="table",
                    width=16,
                ),
                Panel(
                    "Prompts computed once",
                    "1 where a prompt is computed once for all its responses.",
                    ((f"min by (pod) (selfie_scoring_shares_prompts{_OF})", "{{pod}}"),),
                    kind="number",
                ),
            ),
        ),
        Row(
            "Generation, and the embedded engine",
            (
                _rate(
                    "Responses",
                    "For data sets, by how they ended and where their ids come from.",
                    "selfie_generation_samples_total",
                    "finish_reason, ids_from",
                ),
                _rate(
                    "Tokens a second", "Of those responses.", "selfie_generation_tokens_total", "", "short"
                ),
                _rate("Pairs filtered", "By outcome.", "selfie_filtering_pairs_total", "outcome"),
                _now("Engine: responses that wait", "", "selfie_engine_queued_rows"),
                Panel("Engine: responses decoded together", "", _quantiles("selfie_engine_batch_rows")),
                _times("Engine: time of a batch", "", "selfie_engine_batch_seconds"),
                _rate("Engine: tokens sampled", "", "selfie_engine_response_tokens_total", "pod", "short"),
                _rate(
                    "Engine: prompt tokens",
                    "Once for each prompt.",
                    "selfie_engine_prompt_tokens_total",
                    "pod",
                    "short",
                ),
            ),
        ),
        Row(
            "Text Generation Inference",
            (
                Panel(
                    "TGI: requests",
                    "All, and those that succeeded.",
                    (
                        (f"sum(rate(tgi_request_count{_OF}[5m]))", "all"),
                        (f"sum(rate(tgi_request_success{_OF}[5m]))", "success"),
                    ),
                    unit="ops",
                ),
                _rate("TGI: failures", "By kind; overloaded is a 429.", "tgi_request_failure", "err"),
                _now("TGI: queue", "", "tgi_queue_size"),
                _now("TGI: batch", "Requests in it.", "tgi_batch_current_size"),
                _times("TGI: time in the queue", "", "tgi_request_queue_duration"),
                _times("TGI: time of a request", "Of those that succeeded.", "tgi_request_duration"),
                _times("TGI: time per token", "", "tgi_request_mean_time_per_token_duration"),
                _rate("TGI: tokens a second", "", "tgi_request_generated_tokens_sum", "pod", "short"),
                _rate(
                    "TGI: prefill and decode",
                    "Seconds spent in each, a second.",
                    "tgi_batch_inference_duration_sum",
                    "method",
                    "short",
                ),
            ),
        ),
        Row(
            "vLLM",
            (
                _now("vLLM: running", "", "vllm:num_requests_running"),
                _now("vLLM: waiting", "", "vllm:num_requests_waiting"),
                _now("vLLM: cache in use", "", "vllm:kv_cache_usage_perc", unit="percentunit"),
                _times("vLLM: time to the first token", "", "vllm:time_to_first_token_seconds"),
                _times("vLLM: time between tokens", "", "vllm:inter_token_latency_seconds"),
                _times("vLLM: time of a request", "", "vllm:e2e_request_latency_seconds"),
                _rate("vLLM: tokens a second", "", "vllm:generation_tokens_total", "pod", "short"),
                _rate("vLLM: requests by their end", "", "vllm:request_success_total", "finished_reason"),
                _rate("vLLM: preemptions", "", "vllm:num_preemptions_total", "pod"),
            ),
        ),
    ),
)
