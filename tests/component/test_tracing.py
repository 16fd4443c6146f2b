"""Spans of a whole run, of every process that works on it, as a collector gets them."""

from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from external_runs import run
from selfie.artifacts.manifests import read_manifest
from selfie.artifacts.store import open_store
from selfie.tracing.attempts import trace_of
from tiny_data import write_data

RUN = """
apiVersion: selfie.dev/v1alpha1
kind: SelfieRun
metadata: {{name: traced}}
spec:
  model: {{uri: {model}}}
  seed: {{dataset: seed.jsonl, size: 4, epochs: 1, learningRate: "1e-3"}}
  rounds:
    - prompts: {{dataset: prompts.jsonl, count: 4}}
  generation: {{maxNewTokens: 8, maxPromptTokens: 128}}
  filter: {{cut: keep}}
  training: {{batch: 2, learningRate: "1e-3"}}
"""


@dataclass(frozen=True)
class Span:
    """A span with who made it."""

    service: str
    name: str
    trace: str
    span: str
    parent: str


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps all spans that it gets."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def Export(self, request, context):
        for group in request.resource_spans:
            resource = {entry.key: entry.value.string_value for entry in group.resource.attributes}
            for scope in group.scope_spans:
                for found in scope.spans:
                    ids = (found.trace_id.hex(), found.span_id.hex(), found.parent_span_id.hex())
                    self.spans.append(Span(resource["service.name"], found.name, *ids))
        return trace_service_pb2.ExportTraceServiceResponse()


@pytest.fixture
def collector() -> Iterator[tuple[Collector, str]]:
    servicer = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield servicer, f"http://127.0.0.1:{port}"
    server.stop(None).wait()


def lines_to_the_root(spans: list[Span]) -> dict[str, list[str]]:
    """Of each span's `service name`, those above it, nearest first."""
    by_id = {span.span: span for span in spans}
    lines = {}
    for span in spans:
        above, here = [], span
        while here.parent:
            here = by_id[here.parent]
            above.append(f"{here.service} {here.name}")
        lines[f"{span.service} {span.name}"] = above
    return lines


@pytest.mark.timeout(400)
@pytest.mark.slow
def test_an_attempt_is_one_trace_from_who_starts_it_to_the_engine(
    collector, tiny_checkpoint: Path, tmp_path: Path
):
    servicer, endpoint = collector
    write_data(tmp_path, seed=4, heldout=4, prompts=4)
    file = tmp_path / "run.yaml"
    file.write_text(RUN.format(model=tiny_checkpoint))
    ended = run(file, tmp_path / "runs", SELFIE_TRACES_ENDPOINT=endpoint)
    assert ended.returncode == 0, (ended.stdout, ended.stderr)

    store = open_store((tmp_path / "runs/traced").as_uri())
    traces = defaultdict(list)
    for span in servicer.spans:
        traces[span.trace].append(span)
    steps = ("prepare", "rounds/00/seed", "rounds/01/generate", "rounds/01/score", "rounds/01/train")
    for step in steps:
        assert trace_of(read_manifest(store, step).run_uid, step, 1) in traces, step
    drawn = traces[trace_of(read_manifest(store, steps[2]).run_uid, steps[2], 1)]
    lines = lines_to_the_root(drawn)
    start, call = "selfie start", "/selfie.v1.GenerationService/GenerateDataset"
    generation = "selfie.v1.GenerationService"
    work, asked = f"{generation} generate", "/selfie.v1.EngineService/Sample"
    above = [f"{generation} sample", work, f"{generation} {call}", f"selfie {call}", start]
    assert lines[f"selfie.v1.EngineService {asked}"] == [f"{generation} {asked}", *above]
    # Nobody is told how often it was asked how far things are.
    assert not {span.name for span in servicer.spans if "GetOperation" in span.name or "Health" in span.name}


def test_a_collector_that_is_no_address_is_refused_with_its_field(tmp_path: Path):
    file = tmp_path / "run.yaml"
    file.write_text(RUN.format(model="builtin://smollm2-135m-instruct"))
    ended = run(file, tmp_path / "runs", SELFIE_TRACES_ENDPOINT="collector")
    assert ended.returncode == 2
    assert "SELFIE_TRACES_ENDPOINT" in ended.stderr
    assert "Traceback" not in ended.stderr
