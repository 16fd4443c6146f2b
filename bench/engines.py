"""How fast does Selfie's own engine sample, beside others on the same weights?

    python bench/engines.py [--rounds 3] [--output FILE]

Everybody draws as many responses to each of the quickstart's prompts, of at most as many tokens, at the
same temperature, in float32, with as many threads, in turns. Beside the engine: `generate` of transformers
in this process, in batches of as many rows as the engine's; and `transformers serve` over HTTP, if `make
test-engines` has installed it, one response a request and 16 requests at a time. A response ends where it
ends, so tokens are counted, not responses. Who is not there is named; llama.cpp's server is not, since it
comes as source alone and reads weights in a format of its own.
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
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import torch
from generation import process
from transformers import AutoModelForCausalLM

from selfie.generation.embedded import EmbeddedEngine
from selfie.generation.engines import SamplingParameters, SeededPrompt
from selfie.models.cache import default_cache
from selfie.models.chat import ChatTokenizer
from selfie.models.resolve import resolve_model
from selfie.rpc.channels import connect

ROOT = Path(__file__).resolve().parents[1]
PROMPTS = ROOT / "examples/quickstart/prompts.jsonl"
SERVE = ROOT / ".cache/engines/bin/python"
TEMPERATURE, ROWS = 0.7, 128

Draw = Callable[[int], Awaitable[int]]
"""Samples everything in one turn and returns how many tokens that were."""


@dataclass(frozen=True)
class Work:
    """What everybody samples."""

    model: Path
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
        width = max(map(len, prompts))
        ids = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts])
        seen = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
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
        return sum(_length(row, ends) for row in answer[:, width:].tolist())

    async def draw(turn: int) -> int:
        torch.manual_seed(turn)
        size = max(1, ROWS // work.samples)
        prompts = sorted(work.prompts, key=len, reverse=True)
        parts = [prompts[start : start + size] for start in range(0, len(prompts), size)]
        with torch.inference_mode():
            return sum([batch(part) for part in parts])

    return draw


def of_server(url: str, model: str, work: Work, at_once: int = 16) -> Draw:
    """A server that speaks OpenAI's chat completions, one response a request, as many at once."""
    client = httpx2.AsyncClient(timeout=httpx2.Timeout(3600.0), trust_env=False)

    async def one(turns: asyncio.Semaphore, messages: Sequence[Mapping[str, str]], seed: int) -> int:
        body = {
            "model": model,
            "messages": list(messages),
            "temperature": TEMPERATURE,
            "max_tokens": work.tokens,
            "seed": seed,
        }
        async with turns:
            answer = await client.post(f"{url}/v1/chat/completions", json=body)
        answer.raise_for_status()
        return int(answer.json()["usage"]["completion_tokens"])

    async def draw(turn: int) -> int:
        turns = asyncio.Semaphore(at_once)
        seeds = range(turn * work.samples, (turn + 1) * work.samples)
        asked = [one(turns, messages, seed) for messages in work.chats for seed in seeds]
        return sum(await asyncio.gather(*asked))

    return draw


@contextmanager
def serving(command: Sequence[str], url: str) -> Iterator[None]:
    """A server from when it is healthy to the end of the block."""
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            try:
                httpx2.get(f"{url}/health").raise_for_status()
                break
            except httpx2.HTTPError:
                if running.poll() is not None:
                    sys.exit(f"{command[0]} has ended before it was healthy")
                time.sleep(0.5)
        yield
    finally:
        running.terminate()
        running.wait(60)


async def peers_of(work: Work, scratch: Path, stack: AsyncExitStack) -> tuple[dict[str, Draw], list[str]]:
    """Everybody who is there, by name, and who is not."""
    address = stack.enter_context(process("engine", scratch, "--weights", str(work.model)))
    engine = EmbeddedEngine(await stack.enter_async_context(connect(address)), timeout_s=3600)
    digest = (await engine.identity()).weights_digest
    found: dict[str, Draw] = {"selfie": of_engine(engine, digest, work), "generate": of_generate(work)}
    absent = []
    if SERVE.exists():
        start = "from transformers.cli.transformers import main; main()"
        url = "http://127.0.0.1:18471"
        command = [str(SERVE), "-c", start, "serve", "--host", "127.0.0.1", "--port", "18471"]
        stack.enter_context(serving([*command, "--device", "cpu"], url))
        found["transformers serve"] = of_server(url, str(work.model), work)
    else:
        absent.append("transformers serve: make test-engines installs it")
    absent.append("llama.cpp: no package brings its server")
    return found, absent


def _length(row: Sequence[int], ends: set[int]) -> int:
    return next((place + 1 for place, token in enumerate(row) if token in ends), len(row))


async def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Tokens a second of everybody, in turns; a first one is not counted."""
    model = resolve_model(options.model, cache_root=default_cache()).directory
    chat = ChatTokenizer(model)
    lines = PROMPTS.read_text().splitlines()[: options.prompts]
    chats = [json.loads(line)["prompt"] for line in lines]
    ids = [tuple(chat.prompt_ids(messages).ids) for messages in chats]
    work = Work(model, chats, ids, options.samples, options.tokens)
    with tempfile.TemporaryDirectory() as directory:
        async with AsyncExitStack() as stack:
            peers, absent = await peers_of(work, Path(directory), stack)
            speeds: dict[str, list[float]] = {name: [] for name in peers}
            for turn in range(options.rounds + 1):
                for name, draw in peers.items():
                    started = time.perf_counter()
                    tokens = await draw(turn)
                    speeds[name].append(round(tokens / (time.perf_counter() - started), 1))
                    print(f"turn {turn}, {name}: {speeds[name][-1]} tokens/s", flush=True)
    medians = {name: statistics.median(found[1:]) for name, found in speeds.items()}
    return {
        "processors": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0],
        "responses": len(ids) * options.samples,
        "tokens_per_second": speeds,
        "medians": medians,
        "times": {name: round(medians["selfie"] / speed, 2) for name, speed in medians.items()},
        "absent": absent,
    }


def main() -> None:
    """Measures and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="builtin://smollm2-135m-instruct")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompts", type=int, default=32)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=64, help="most new tokens of a response")
    parser.add_argument("--output", type=Path, default=ROOT / "bench/results/engines.json")
    options = parser.parse_args()
    found = asyncio.run(measured(options))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(found, indent=2) + "\n")
    sys.stdout.write(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
