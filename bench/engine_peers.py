"""Who is measured beside Selfie's own engine, and how each is asked to sample."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import numpy as np
import torch
from generation import process
from gguf import GGUFReader, GGUFWriter, LlamaFileType
from gguf.quants import dequantize
from padding import left_padded
from transformers import AutoModelForCausalLM

from selfie.generation.embedded import EmbeddedEngine
from selfie.generation.engines import SamplingParameters, SeededPrompt
from selfie.rpc.channels import connect

CACHE = Path(__file__).resolve().parents[1] / ".cache"
SERVE, LLAMA = CACHE / "engines/bin/python", CACHE / "llama.cpp/llama-server"
TEMPERATURE, ROWS, AT_ONCE = 0.7, 128, 16

Draw = Callable[[int], Awaitable[int]]
"""Samples everything in one turn and returns how many tokens that were."""


@dataclass(frozen=True)
class Work:
    """What everybody samples; ``gguf`` is what the model was read from, if it was that."""

    model: Path
    gguf: Path | None
    chats: Sequence[Sequence[Mapping[str, str]]]
    prompts: Sequence[tuple[int, ...]]
    samples: int
    tokens: int


def of_engine(engine: EmbeddedEngine, digest: str, work: Work) -> Draw:
    """Selfie's own, over gRPC."""
    parameters = SamplingParameters(TEMPERATURE, 1.0, work.tokens)

    async def draw(turn: int) -> int:
        seeds = tuple(range(turn * work.samples, (turn + 1) * work.samples))
        asked = [SeededPrompt(ids, seeds) for ids in work.prompts]
        found = await engine.sample(asked, parameters, weights_digest=digest)
        return sum(len(sample.response_ids) for samples in found for sample in samples)

    return draw


def of_generate(work: Work) -> Draw:
    """`generate`, left-padded, in batches of as many rows as the engine's."""
    model = AutoModelForCausalLM.from_pretrained(work.model, dtype=torch.float32).eval()
    ends = model.generation_config.eos_token_id
    ends = {ends} if isinstance(ends, int) else set(ends)

    def batch(prompts: Sequence[tuple[int, ...]]) -> int:
        ids, seen = left_padded(prompts)
        answer = model.generate(
            ids,
            attention_mask=seen,
            do_sample=True,
            temperature=TEMPERATURE,
            top_p=1.0,
            top_k=0,
            max_new_tokens=work.tokens,
            num_return_sequences=work.samples,
        )
        return sum(_length(row, ends) for row in answer[:, ids.shape[1] :].tolist())

    async def draw(turn: int) -> int:
        torch.manual_seed(turn)
        size = max(1, ROWS // work.samples)
        prompts = sorted(work.prompts, key=len, reverse=True)
        parts = [prompts[start : start + size] for start in range(0, len(prompts), size)]
        with torch.inference_mode():
            return sum([batch(part) for part in parts])

    return draw


def of_server(url: str, model: str, work: Work, **options: float) -> Draw:
    """A server that speaks OpenAI's chat completions, one response a request, as many at once."""
    client = httpx2.AsyncClient(timeout=httpx2.Timeout(3600.0), trust_env=False)

    async def one(turns: asyncio.Semaphore, messages: Sequence[Mapping[str, str]], seed: int) -> int:
        body = {
            "model": model,
            "messages": list(messages),
            "temperature": TEMPERATURE,
            "max_tokens": work.tokens,
            "seed": seed,
            **options,
        }
        async with turns:
            answer = await client.post(f"{url}/v1/chat/completions", json=body)
        answer.raise_for_status()
        return int(answer.json()["usage"]["completion_tokens"])

    async def draw(turn: int) -> int:
        turns = asyncio.Semaphore(AT_ONCE)
        seeds = range(turn * work.samples, (turn + 1) * work.samples)
        asked = [one(turns, messages, seed) for messages in work.chats for seed in seeds]
        return sum(await asyncio.gather(*asked))

    return draw


@contextmanager
def serving(command: Sequence[str], port: int) -> Iterator[str]:
    """The address of a server, from when it is healthy to the end of the block."""
    url, place = f"http://127.0.0.1:{port}", ("--host", "127.0.0.1", "--port", str(port))
    running = subprocess.Popen([*command, *place], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                httpx2.get(f"{url}/health").raise_for_status()
                break
            except httpx2.HTTPError:
                if running.poll() is not None:
                    sys.exit(f"{command[0]} has ended before it was healthy")
                time.sleep(0.5)
        yield url
    finally:
        running.terminate()
        running.wait(60)


def transformers_serve(work: Work, stack: AsyncExitStack) -> Draw:
    """`transformers serve`, which loads what it is asked for."""
    start = "from transformers.cli.transformers import main; main()"
    url = stack.enter_context(serving([str(SERVE), "-c", start, "serve", "--device", "cpu"], 18471))
    return of_server(url, str(work.model), work)


def llama_server(gguf: Path, port: int, work: Work, stack: AsyncExitStack) -> Draw:
    """llama.cpp's server on a file of its own format, with room for all that is asked at once."""
    room = AT_ONCE * (max(map(len, work.prompts)) + work.tokens)
    command = [str(LLAMA), "-m", str(gguf), "--threads", str(os.cpu_count())]
    # On weights repacked for AMX this version ends with a fault (general protection) as it warms up.
    command += ["--parallel", str(AT_ONCE), "--ctx-size", str(room), "--no-repack"]
    url = stack.enter_context(serving(command, port))
    # Its own defaults would cut the distribution's tail off.
    return of_server(url, gguf.stem, work, top_k=0, top_p=1.0, min_p=0.0)


def in_float32(source: Path, target: Path) -> Path:
    """The same weights without their compression, in llama.cpp's format."""
    reader = GGUFReader(source)
    writer = GGUFWriter(target, reader.fields["general.architecture"].contents())
    for field in reader.fields.values():
        if field.name == "general.file_type":
            writer.add_file_type(LlamaFileType.ALL_F32)
        elif field.name != "general.architecture" and not field.name.startswith("GGUF."):
            kind, *elements = field.types
            writer.add_key_value(field.name, field.contents(), kind, *elements[-1:])
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type)
        writer.add_tensor(tensor.name, np.ascontiguousarray(values, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


async def peers_of(work: Work, scratch: Path, stack: AsyncExitStack) -> tuple[dict[str, Draw], list[str]]:
    """Everybody who is there, by name, and who is not."""
    address = stack.enter_context(process("engine", scratch, "--weights", str(work.model)))
    engine = EmbeddedEngine(await stack.enter_async_context(connect(address)), timeout_s=3600)
    digest = (await engine.identity()).weights_digest
    found: dict[str, Draw] = {"selfie": of_engine(engine, digest, work), "generate": of_generate(work)}
    absent = []
    if SERVE.exists():
        found["transformers serve"] = transformers_serve(work, stack)
    else:
        absent.append("transformers serve: make test-engines installs it")
    if LLAMA.exists() and work.gguf:
        whole = in_float32(work.gguf, scratch / "float32.gguf")
        found["llama.cpp, float32"] = llama_server(whole, 18472, work, stack)
        found["llama.cpp, as packed (4 bits)"] = llama_server(work.gguf, 18473, work, stack)
    else:
        absent.append("llama.cpp: make test-engines compiles it, and it reads the embedded model alone")
    return found, absent


def _length(row: Sequence[int], ends: set[int]) -> int:
    return next((place + 1 for place, token in enumerate(row) if token in ends), len(row))
