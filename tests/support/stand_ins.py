"""What cannot be had on this machine, as Prometheus would see it: an operator's process, TGI, vLLM.

The operator's figures are its own metrics, set here; those of TGI and vLLM are written by hand after
their documentation, and prove that a panel asks for such a name, not that a server has it.
"""

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from selfie.monitoring.boards import RunBoard
from selfie.monitoring.serving import targets
from selfie.monitoring.sights import RunName
from selfie.rpc import guards
from selfie.runs.conditions import new_condition
from selfie.runs.load import parse_run
from selfie.runs.observed import ManifestSummary, Observed
from selfie.runs.operation_fields import Deadlines
from selfie.runs.status import RoundStatus, RunStatus
from selfie.training.cluster.metrics import ADOPTED, CREATED, REQUESTS
from selfie_operator import metrics as operator
from selfie_operator.phase_metrics import PhasesCollector
from selfie_operator.reconciling.measures import STAGE_SECONDS

SCORE = "selfie.v1.ScoringService/Score"
RUN = """
apiVersion: selfie.dev/v1alpha1
kind: SelfieRun
metadata: {name: toy}
spec:
  model: {uri: hf://toy/model}
  referenceModel: {uri: hf://toy/base}
  rounds: [{prompts: {dataset: prompts.jsonl}}]
"""


class Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Says nothing."""


@contextmanager
def answering(pages: Mapping[str, Callable[[], bytes]]) -> Iterator[str]:
    """Serves pages by their paths; yields the address."""

    def answer(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        page = pages[environ["PATH_INFO"]]()
        kind = "application/json" if page.startswith(b"[") else "text/plain; version=0.0.4"
        start("200 OK", [("Content-Type", kind)])
        return [page]

    server = make_server("127.0.0.1", 0, answer, WSGIServer, Silent)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class StandIns:
    """Two targets, once they are shown: an operator, and an engine that is TGI and vLLM in one."""

    def __init__(self) -> None:
        self._board = RunBoard()
        self._engines = CollectorRegistry()
        self._tick = _engines(self._engines)
        self._shown: dict[str, str] = {}
        self._more: dict[str, str] = {}

    def add(self, component: str, address: str) -> None:
        """Shows one more process, a real one."""
        self._more[component] = address

    def remove(self, component: str) -> None:
        """It is gone."""
        del self._more[component]

    @contextmanager
    def served(self) -> Iterator[str]:
        """Yields the URL of service discovery, which knows nobody at first."""
        with (
            answering({"/metrics": self._operator}) as operating,
            answering({"/metrics": self._engine}) as engine,
            answering({"/targets": self._targets}) as found,
        ):
            self._addresses = {"operator": operating, "engine": engine}
            yield f"http://{found}/targets"

    def show(self) -> None:
        """From now on they are there, in the state in which every alert is due."""
        self._shown = dict(self._addresses)
        _runs(self._board)

    def _targets(self) -> bytes:
        return json.dumps([*targets(self._shown), *targets(self._more)]).encode()

    def _engine(self) -> bytes:
        self._tick()
        return generate_latest(self._engines)

    def _operator(self) -> bytes:
        _troubled_operator()
        own = CollectorRegistry()
        own.register(self._board)
        ours = (operator.LEADER, operator.QUEUE_DEPTH, operator.QUEUE_OLDEST, operator.LOOP_LAG)
        counted = (operator.RECONCILES, operator.RECONCILE_SECONDS, operator.RETRIES, operator.API_REQUESTS)
        others = (operator.WATCH_LAST_EVENT, operator.WATCH_RESTARTS, operator.EVENTS, REQUESTS)
        jobs = (CREATED, ADOPTED, STAGE_SECONDS, PhasesCollector([{}]))
        for metric in (*ours, *counted, *others, *jobs, guards.HANDLED, guards.SECONDS):
            own.register(metric)
        process = "# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes 1e8\n"
        process += (
            f"# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total {time.time() % 1e5}\n"
        )
        return generate_latest(own) + process.encode()


def _troubled_operator() -> None:
    """Nobody leads in even seconds and two in odd ones; it hears nothing, and most that it does fails."""
    operator.LEADER.set(2 * (int(time.time()) // 3 % 2))
    operator.WATCH_LAST_EVENT.labels("selfieruns").set(time.time() - 600)
    operator.WATCH_RESTARTS.labels("selfieruns", "Unavailable").inc()
    operator.QUEUE_DEPTH.set(9)
    operator.QUEUE_OLDEST.set(900)
    operator.LOOP_LAG.set(0.1)
    for result in ("success", "error"):
        operator.RECONCILES.labels(result).inc(5)
    operator.RECONCILE_SECONDS.observe(0.2)
    operator.RETRIES.inc()
    operator.API_REQUESTS.labels("GET", "selfieruns", "200").inc()
    operator.EVENTS.labels("sent").inc()
    REQUESTS.labels("GET", "jobs", "200").inc()
    CREATED.labels("train").inc()
    ADOPTED.labels("train").inc()
    STAGE_SECONDS.labels("train").observe(60)
    guards.HANDLED.labels(SCORE, "INTERNAL").inc(20)
    guards.SECONDS.labels(SCORE).observe(9)


def _runs(board: RunBoard) -> None:
    """One run that is stalled and over its deadline, one that has failed."""
    now = datetime.now(UTC)
    run = parse_run(RUN).spec.model_copy(update={"deadlines": Deadlines(stage_seconds=1)})
    for name, condition in (("stalled", "Stalled"), ("failed", "Failed")):
        since = {"start_time": now, "stage_start_time": now}
        ended = {"completion_time": now} if condition == "Failed" else {}
        conditions = tuple(
            new_condition(kind, "True", "Why", message="", generation=1, now=now)
            for kind in ("Succeeded", condition)
        )
        rounds = (RoundStatus(round=1, breaches=("accuracy fell",)),)
        board.tell(RunName("local", name), RunStatus(conditions=conditions, rounds=rounds, **since, **ended))
    kept = ManifestSummary(sha256="a", measures={"kept_share": 0.1}, seconds=1)
    board.observe(RunName("local", "stalled"), run, Observed(manifests={"rounds/01/filter": kept}))


def _engines(registry: CollectorRegistry) -> Callable[[], None]:
    """What TGI and vLLM count; the answer counts on."""

    def counter(name: str, *labels: str) -> Counter:
        return Counter(name, "x", labels, registry=registry)

    gauges = ("tgi_queue_size", "tgi_batch_current_size")
    for name in (
        *gauges,
        "vllm:num_requests_running",
        "vllm:num_requests_waiting",
        "vllm:kv_cache_usage_perc",
    ):
        Gauge(name, "x", registry=registry).set(1)
    times = ("tgi_request_queue_duration", "tgi_request_duration", "tgi_request_mean_time_per_token_duration")
    vllm = ("time_to_first_token_seconds", "inter_token_latency_seconds", "e2e_request_latency_seconds")
    names = (*times, *(f"vllm:{name}" for name in vllm), "tgi_request_generated_tokens")
    histograms = [Histogram(name, "x", registry=registry) for name in names]
    inference = Histogram("tgi_batch_inference_duration", "x", ["method"], registry=registry)
    counters = [
        counter("vllm:generation_tokens"),
        counter("vllm:num_preemptions"),
        counter("vllm:request_success", "finished_reason").labels("stop"),
    ]
    # TGI's counters have no _total, which this library insists on; to Prometheus a gauge is as good.
    plain = [Gauge(name, "x", registry=registry) for name in ("tgi_request_count", "tgi_request_success")]
    plain.append(Gauge("tgi_request_failure", "x", ["err"], registry=registry).labels("overloaded"))

    def tick() -> None:
        for each in (*counters, *plain):
            each.inc()
        for histogram in (*histograms, inference.labels("prefill")):
            histogram.observe(0.5)

    return tick
