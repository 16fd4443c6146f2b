"""The batch call: N samples of every prompt of a data set, shard by shard.

Shards are what survives a crash, so a shard is written as soon as all its samples are there and
the engine has been seen to serve the same policy before and after. Several are under way at
once, so that the engine always has the next batch waiting.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
from pydantic import JsonValue

from selfie.artifacts.manifests import FileEntry, Manifest, ManifestRef, read_ref
from selfie.artifacts.rows import PROMPT_SCHEMA, SAMPLE_SCHEMA
from selfie.artifacts.shards import read_group, read_shard
from selfie.errors import FailedPrecondition, InvalidInput
from selfie.generation.engines import (
    Engine,
    EngineIdentity,
    Sample,
    SamplingParameters,
    SeededPrompt,
    require_tokenizer,
    require_weights,
)
from selfie.generation.flow import Calls, Flow, run_bounded
from selfie.generation.metrics import count_samples
from selfie.generation.samples import Tally, sample_table, tally
from selfie.generation.seeds import derive_seeds
from selfie.rpc.operation_context import OperationContext

GROUP = "samples"


@dataclass(frozen=True, slots=True)
class DatasetJob:
    """What to generate; ``shard_rows`` is in prompts, ``policy_digest`` that of the weights meant."""

    prompts: ManifestRef
    group: str
    policy_digest: str
    samples_per_prompt: int
    parameters: SamplingParameters
    random_seed: int
    shard_rows: int
    allow_retokenized: bool


async def generate_dataset(
    context: OperationContext, job: DatasetJob, engine: Engine, flow: Flow
) -> Manifest:
    """Generates what this attempt has not finished yet and returns the manifest of all of it.

    Raises `FailedPrecondition` when the engine serves other weights or another tokenizer, or
    gives back text alone and that is not allowed; `InvalidInput` when a prompt leaves no room
    for the response; `Cancelled` when the operation was stopped.
    """
    source = await asyncio.to_thread(read_ref, context.store, job.prompts)
    table = await asyncio.to_thread(read_group, context.store, source, job.group)
    identity = await engine.identity()
    require_weights(identity, job.policy_digest)
    require_tokenizer(identity, source.inputs.get("tokenizer"))
    _check_room(table, job, identity)
    work = _Dataset(context, job, engine, table.select(PROMPT_SCHEMA.names))
    await work.run(flow)
    return context.manifest(
        files=work.files,
        inputs=_inputs(job, source, identity),
        parameters=_parameters(job, identity),
        counts=work.tally.counts,
        measures=work.tally.measures | work.speed,
        weights_digest=job.policy_digest,
        template_digest=source.template_digest,
    )


class _Dataset:
    """One attempt at one data set."""

    def __init__(self, context: OperationContext, job: DatasetJob, engine: Engine, prompts: pa.Table) -> None:
        self._context = context
        self._job = job
        self._engine = engine
        self._prompts = prompts
        self._shards: dict[int, tuple[FileEntry, Tally]] = {}
        self._rows_done = 0
        self._tokens_sampled = 0
        self._seconds = 0.0

    @property
    def files(self) -> tuple[FileEntry, ...]:
        """All shards, in the order of the prompts."""
        return tuple(self._shards[index][0] for index in sorted(self._shards))

    @property
    def tally(self) -> Tally:
        """The counts of all shards together."""
        return sum((found for _, found in self._shards.values()), start=Tally())

    @property
    def speed(self) -> dict[str, float]:
        """Tokens per second of what was sampled here; empty if all of it was there already."""
        if not self._tokens_sampled:
            return {}
        return {"tokens_per_second": self._tokens_sampled / self._seconds}

    async def run(self, flow: Flow) -> None:
        """Takes over the finished shards and makes the others."""
        await asyncio.to_thread(self._adopt_finished)
        self._report()
        started = time.monotonic()
        calls, shard_rows = self._calls(flow), self._job.shard_rows
        shards = range(-(-self._prompts.num_rows // shard_rows))
        missing = (self._make(index, calls) for index in shards if index not in self._shards)
        at_once = flow.shards_at_once(shard_rows * self._job.samples_per_prompt)
        await run_bounded(missing, at_once=at_once, sign=self._report)
        self._seconds = time.monotonic() - started

    def _calls(self, flow: Flow) -> Calls:
        job = self._job
        return Calls(
            self._engine,
            job.parameters,
            job.policy_digest,
            rows_per_call=flow.rows_per_call,
            at_once=flow.calls_at_once(job.shard_rows * job.samples_per_prompt),
            arrived=self._count,
        )

    def _adopt_finished(self) -> None:
        for index, entry in self._context.finished_shards(GROUP).items():
            found = tally(read_shard(self._context.store, entry))
            self._shards[index] = (entry, found)
            self._rows_done += found.samples

    def _report(self) -> None:
        self._context.progress(self._rows_done, self._prompts.num_rows * self._job.samples_per_prompt)

    def _count(self, arrived: Sequence[Sample]) -> None:
        """Notes samples that have arrived; refuses retokenized ones unless they are allowed."""
        if not self._job.allow_retokenized and any(one.ids_from != "engine" for one in arrived):
            raise FailedPrecondition(
                "RetokenizedNotAllowed",
                "the engine gives back text without token ids; use one that returns ids, "
                "or set generation.allowRetokenized and have them counted",
            )
        count_samples(arrived)
        self._rows_done += len(arrived)
        self._tokens_sampled += sum(len(sample.response_ids) for sample in arrived)

    async def _make(self, index: int, calls: Calls) -> None:
        """Makes one shard, and throws it away if the engine was not the same all the time."""
        rows = self._prompts.slice(index * self._job.shard_rows, self._job.shard_rows)
        before = await self._identity()
        samples = await calls.sample(_seeded(rows, self._job, self._context.step))
        after = await self._identity()
        if after != before:
            raise FailedPrecondition(
                "EngineChanged",
                f"the engine changed from {before} to {after} while shard {index} was sampled; "
                "start a new attempt when it is settled",
            )
        table = sample_table(rows, samples, after)
        entry = await asyncio.to_thread(self._write, table, index)
        self._shards[index] = (entry, tally(table))

    async def _identity(self) -> EngineIdentity:
        identity = await self._engine.identity()
        require_weights(identity, self._job.policy_digest)
        return identity

    def _write(self, table: pa.Table, index: int) -> FileEntry:
        return self._context.write_shard(table, schema=SAMPLE_SCHEMA, group=GROUP, index=index)


def _seeded(rows: pa.Table, job: DatasetJob, step: str) -> list[SeededPrompt]:
    columns = (rows.column(name).to_pylist() for name in ("prompt_ids", "prompt_digest"))
    return [
        SeededPrompt(
            prompt_ids=tuple(ids), seeds=derive_seeds(job.random_seed, step, digest, job.samples_per_prompt)
        )
        for ids, digest in zip(*columns, strict=True)
    ]


def _check_room(prompts: pa.Table, job: DatasetJob, identity: EngineIdentity) -> None:
    """Refuses a data set that would fail at its longest prompt, before the first is sampled."""
    room, new = identity.max_context_tokens, job.parameters.max_new_tokens
    longest = max((len(ids) for ids in prompts.column("prompt_ids").to_pylist()), default=0)
    if room and longest + new > room:
        raise InvalidInput(
            "parameters.max_new_tokens",
            f"{new} new tokens after the longest prompt of {longest} exceed the engine's {room}",
            f"ask for at most {max(0, room - longest)}, or cut the prompts shorter",
        )


def _inputs(job: DatasetJob, source: Manifest, identity: EngineIdentity) -> dict[str, str]:
    known = {
        "policy": job.policy_digest,
        "prompts": job.prompts.sha256,
        "template": source.template_digest or "",
        "tokenizer": identity.tokenizer_digest or source.inputs.get("tokenizer", ""),
    }
    return {name: digest for name, digest in known.items() if digest}


def _parameters(job: DatasetJob, identity: EngineIdentity) -> dict[str, JsonValue]:
    return {
        "group": job.group,
        "samplesPerPrompt": job.samples_per_prompt,
        "temperature": job.parameters.temperature,
        "topP": job.parameters.top_p,
        "maxNewTokens": job.parameters.max_new_tokens,
        "randomSeed": job.random_seed,
        "allowRetokenized": job.allow_retokenized,
        "engine": identity.engine,
        "precision": identity.precision,
    }
