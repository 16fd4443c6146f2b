"""A data set for the scorer to work on while it is measured: the quickstart's pairs, as if sampled."""

import asyncio
import json
import sys
import uuid
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import grpc
import pyarrow as pa
from google.longrunning import operations_pb2, operations_pb2_grpc

from selfie.artifacts.manifests import ManifestRef, publish
from selfie.artifacts.rows import SAMPLE_SCHEMA
from selfie.artifacts.store import open_store
from selfie.models.chat import ChatTokenizer
from selfie.rpc.operation_context import OperationContext
from selfie.v1 import artifacts_pb2, scoring_pb2, scoring_pb2_grpc


def write_samples(run: str, model: Path, pairs: Path, policy: str, rows: int) -> ManifestRef:
    """Samples to score: the responses of the held-out pairs, as if the policy had made them."""
    chat, store = ChatTokenizer(model), open_store(run)
    table = []
    for number, line in enumerate(islice(cycle(pairs.read_text().splitlines()), rows)):
        pair = json.loads(line)
        prompt = chat.prompt_ids(pair["prompt"])
        for index, side in enumerate(("chosen", "rejected")):
            table.append(
                {
                    "prompt_id": f"p{number}",
                    "messages": pair["prompt"],
                    "prompt_ids": prompt.ids,
                    "prompt_digest": prompt.digest,
                    "truncated": False,
                    "sample_index": index,
                    "seed": number,
                    "response_text": pair[side],
                    "response_ids": chat.response_ids(pair[side]),
                    "ids_from": "engine",
                    "finish_reason": "stop",
                    "policy_digest": policy,
                    "engine": "bench",
                }
            )
    shard = pa.Table.from_pylist(table, schema=SAMPLE_SCHEMA)
    loop = asyncio.get_running_loop()
    step = {"step": "rounds/01/generate", "attempt": 1, "writer": "b", "run_uid": "u"}
    context = OperationContext(store=store, loop=loop, **step)
    entry = context.write_shard(shard, schema=SAMPLE_SCHEMA, group="samples", index=0)
    return publish(store, context.manifest(files=(entry,)))


async def start_data_set(channel: grpc.aio.Channel, run: str, source: ManifestRef, found: Any) -> str:
    """Starts ScoreDataset, and returns once its first piece is under way."""
    request = scoring_pb2.ScoreDatasetRequest(
        request_id=str(uuid.uuid4()),
        attempt=artifacts_pb2.Attempt(run_uri=run, step="rounds/01/score", number=1, run_uid="u"),
        input=artifacts_pb2.ManifestRef(path=source.path, sha256=source.sha256),
        group="samples",
        kind=scoring_pb2.DATASET_KIND_SAMPLES,
        policy=artifacts_pb2.Weights(step="rounds/00/publish", digest=found.policy_digest),
        reference=artifacts_pb2.Weights(step="prepare", digest=found.reference_digest),
        beta=0.1,
        normalization=scoring_pb2.NORMALIZATION_SUM,
        judge=scoring_pb2.JUDGE_IMPLICIT,
        shard_rows=64,
    )
    operation = await scoring_pb2_grpc.ScoringServiceStub(channel).ScoreDataset(request, timeout=30)
    await asyncio.sleep(1)
    asked = operations_pb2.GetOperationRequest(name=operation.name)
    state = await operations_pb2_grpc.OperationsStub(channel).GetOperation(asked, timeout=30)
    if state.done:
        sys.exit(f"the data set ended before it was measured beside: {state}")
    return str(operation.name)
