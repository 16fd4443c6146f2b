"""What does the generation service cost over its engine?

    python bench/generation.py [--model builtin://smollm2-135m-instruct] [--rounds 5] [--output FILE]

Both ways ask the same engine, Selfie's own in a process of its own, in turns: directly as the service asks it
(calls of as many responses, as many at once), and through the service, which also reads its prompts from the
artifact store, asks the engine who it is around every shard, and writes shards and manifest. Latency is that
of one response of one token, by the online call. Targets: 3 % of throughput, 5 ms at the median.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf.duration_pb2 import Duration

from selfie.artifacts.manifests import ManifestRef, publish, read_manifest
from selfie.artifacts.rows import PROMPT_SCHEMA
from selfie.artifacts.store import Store, open_store
from selfie.generation.embedded import EmbeddedEngine
from selfie.generation.engines import SamplingParameters, SeededPrompt
from selfie.generation.flow import Calls, Flow
from selfie.models.cache import default_cache
from selfie.models.chat import ChatTokenizer
from selfie.models.resolve import resolve_model
from selfie.rpc.channels import connect
from selfie.rpc.operation_context import OperationContext
from selfie.v1 import artifacts_pb2, engine_pb2, generation_pb2, generation_pb2_grpc

PROMPTS = Path(__file__).resolve().parents[1] / "examples/quickstart/prompts.jsonl"
GROUP = "prompts-round-01"
SAMPLES, SHARD_ROWS = 4, 16


@dataclass(frozen=True)
class Work:
    """Prompts that are sampled from by either way, and where the service finds them."""

    store: Store
    source: ManifestRef
    prompts: Sequence[tuple[int, ...]]
    parameters: SamplingParameters
    digest: str


@contextmanager
def process(name: str, scratch: Path, *arguments: str) -> Iterator[str]:
    """The address of a service in a process of its own, once it listens."""
    ports = scratch / f"{name}.json"
    common = ("--port-file", str(ports), "--parent-pid", str(os.getpid()), "--log-level", "warning")
    running = subprocess.Popen([sys.executable, "-m", f"selfie.{name}", *arguments, *common])
    try:
        while not ports.exists():
            time.sleep(0.1)
            if running.poll() is not None:
                sys.exit(f"{name} has ended; see above")
        yield f"127.0.0.1:{json.loads(ports.read_text())['port']}"
    finally:
        running.terminate()
        running.wait(60)


def prepared(store: Store, model: Path, count: int) -> tuple[ManifestRef, list[tuple[int, ...]]]:
    """The quickstart's first prompts, tokenised and published as `prepare` does."""
    chat = ChatTokenizer(model)
    lines = PROMPTS.read_text().splitlines()[:count]
    chats = [json.loads(line)["prompt"] for line in lines]
    found = [chat.prompt_ids(messages) for messages in chats]
    rows = [
        {
            "prompt_id": f"p{number}",
            "messages": messages,
            "prompt_ids": prompt.ids,
            "prompt_digest": prompt.digest,
            "truncated": False,
        }
        for number, (messages, prompt) in enumerate(zip(chats, found, strict=True))
    ]
    context = OperationContext(
        store=store, step="prepare", attempt=1, writer="b", run_uid="u", loop=asyncio.get_running_loop()
    )
    table = pa.Table.from_pylist(rows, schema=PROMPT_SCHEMA)
    entry = context.write_shard(table, schema=PROMPT_SCHEMA, group=GROUP, index=0)
    inputs = {"tokenizer": chat.tokenizer_digest}
    ref = publish(
        store, context.manifest(files=(entry,), inputs=inputs, template_digest=chat.template_digest)
    )
    return ref, [tuple(prompt.ids) for prompt in found]


async def directly(engine: EmbeddedEngine, work: Work, turn: int) -> float:
    """Tokens a second of the engine, asked as the service asks it."""
    flow, tokens = Flow(), []
    calls = Calls(
        engine,
        work.parameters,
        work.digest,
        rows_per_call=flow.rows_per_call,
        at_once=flow.calls_at_once(SHARD_ROWS * SAMPLES),
        arrived=lambda samples: tokens.extend(len(sample.response_ids) for sample in samples),
    )
    seeds = tuple(range(turn * SAMPLES, (turn + 1) * SAMPLES))
    prompts = [SeededPrompt(ids, seeds) for ids in work.prompts]
    shards = [prompts[first : first + SHARD_ROWS] for first in range(0, len(prompts), SHARD_ROWS)]
    started = time.perf_counter()
    await asyncio.gather(*(calls.sample(shard) for shard in shards))
    return sum(tokens) / (time.perf_counter() - started)


async def through_the_service(channel: grpc.aio.Channel, work: Work, turn: int) -> float:
    """The same through GenerateDataset, to the published manifest."""
    step = f"rounds/{turn + 1:02d}/generate"
    request = generation_pb2.GenerateDatasetRequest(
        request_id=str(uuid.uuid4()),
        attempt=artifacts_pb2.Attempt(run_uri=work.store.uri, step=step, number=1, run_uid="u"),
        prompts=artifacts_pb2.ManifestRef(path=work.source.path, sha256=work.source.sha256),
        group=GROUP,
        policy=artifacts_pb2.Weights(step="rounds/00/publish", group="checkpoint", digest=work.digest),
        samples_per_prompt=SAMPLES,
        parameters=_message(work.parameters),
        random_seed=turn,
        shard_rows=SHARD_ROWS,
    )
    operations = operations_pb2_grpc.OperationsStub(channel)
    started = time.perf_counter()
    operation = await generation_pb2_grpc.GenerationServiceStub(channel).GenerateDataset(request)
    # Not asked for again and again: on two processors that alone would take some per cent of the engine's.
    wait = operations_pb2.WaitOperationRequest(name=operation.name, timeout=Duration(seconds=60))
    while not operation.done:
        operation = await operations.WaitOperation(wait)
    seconds = time.perf_counter() - started
    manifest = read_manifest(work.store, step)
    if manifest is None:
        sys.exit(f"{step} has failed: {operation.error.message}")
    return manifest.counts["tokens"] / seconds


async def latencies(
    engine: EmbeddedEngine, channel: grpc.aio.Channel, work: Work, calls: int
) -> tuple[list[float], list[float]]:
    """Milliseconds of single calls, in turns: of the engine, and of the service."""
    stub = generation_pb2_grpc.GenerationServiceStub(channel)
    one = SamplingParameters(work.parameters.temperature, 1.0, 1)
    direct, served = [], []
    for number in range(calls):
        ids = work.prompts[number % len(work.prompts)]
        started = time.perf_counter()
        await engine.sample([SeededPrompt(ids, (number,))], one, weights_digest=work.digest)
        between = time.perf_counter()
        await stub.Generate(
            generation_pb2.GenerateRequest(
                prompt_ids=ids, samples=1, parameters=_message(one), random_seed=number
            )
        )
        direct.append(1000 * (between - started))
        served.append(1000 * (time.perf_counter() - between))
    return direct, served


def _message(parameters: SamplingParameters) -> engine_pb2.SamplingParameters:
    return engine_pb2.SamplingParameters(
        temperature=parameters.temperature,
        top_p=parameters.top_p,
        max_new_tokens=parameters.max_new_tokens,
    )


async def figures_of(
    options: argparse.Namespace, addresses: Sequence[str], run: str, model: Path
) -> dict[str, Any]:
    """All figures; the first turn of each way is not counted."""
    store = open_store(run)
    source, prompts = prepared(store, model, options.prompts)
    async with connect(addresses[0]) as to_engine, connect(addresses[1]) as to_service:
        engine = EmbeddedEngine(to_engine, timeout_s=1800)
        digest = (await engine.identity()).weights_digest
        work = Work(store, source, prompts, SamplingParameters(0.8, 1.0, options.tokens), digest)
        direct, served = [], []
        for turn in range(options.rounds + 1):
            direct.append(await directly(engine, work, turn))
            served.append(await through_the_service(to_service, work, turn))
        single = await latencies(engine, to_service, work, options.calls)
    speeds = statistics.median(direct[1:]), statistics.median(served[1:])
    medians = statistics.median(single[0]), statistics.median(single[1])
    return {
        "processors": os.cpu_count(),
        "load_average": os.getloadavg()[0],
        "rounds": options.rounds,
        "tokens_per_second": {"engine": round(speeds[0], 1), "service": round(speeds[1], 1)},
        "throughput_lost_percent": round(100 * (1 - speeds[1] / speeds[0]), 2),
        "calls": options.calls,
        "latency_ms_p50": {"engine": round(medians[0], 2), "service": round(medians[1], 2)},
        "latency_added_ms_p50": round(medians[1] - medians[0], 2),
    }


def main() -> None:
    """Measures and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="builtin://smollm2-135m-instruct")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompts", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=48, help="most new tokens of a response")
    parser.add_argument("--calls", type=int, default=60, help="single calls for the latency")
    parser.add_argument("--output", type=Path, default=Path("bench/results/generation.json"))
    options = parser.parse_args()
    model = resolve_model(options.model, cache_root=default_cache()).directory
    with tempfile.TemporaryDirectory() as directory, ExitStack() as running:
        scratch, run = Path(directory), Path(directory, "run").as_uri()
        engine = running.enter_context(process("engine", scratch, "--weights", str(model)))
        roots = ("--artifact-roots", f'["{run}"]')
        service = running.enter_context(process("generation", scratch, "--engine-address", engine, *roots))
        figures = asyncio.run(figures_of(options, (engine, service), run, model))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(figures, indent=2) + "\n")
    sys.stdout.write(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
