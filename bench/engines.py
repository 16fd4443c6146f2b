"""How fast does Selfie's own engine sample, beside others on the same weights?

    python bench/engines.py [--rounds 3] [--output FILE]

Everybody draws as many responses to each of the quickstart's prompts, of at most as many tokens, at the
same temperature, with as many threads, in turns. Beside the engine: `generate` of transformers in this
process, in batches of as many rows as the engine's; and two servers over HTTP, if `make test-engines` has
installed them, one response a request and 16 requests at a time: `transformers serve`, and llama.cpp's, once
in float32 like the others and once on the 4 bits that the weights come in, which nobody else multiplies in.
A response ends where it ends, so tokens are counted, not responses. Who is not there is named.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import torch
from engine_peers import Work, peers_of

from selfie.models.cache import default_cache
from selfie.models.chat import ChatTokenizer
from selfie.models.embedded import embedded_source
from selfie.models.resolve import resolve_model

ROOT = Path(__file__).resolve().parents[1]
PROMPTS = ROOT / "examples/quickstart/prompts.jsonl"
EMBEDDED = "smollm2-135m-instruct"


async def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Tokens a second of everybody, in turns; a first one is not counted."""
    model = resolve_model(options.model, cache_root=default_cache()).directory
    chat = ChatTokenizer(model)
    lines = PROMPTS.read_text().splitlines()[: options.prompts]
    chats = [json.loads(line)["prompt"] for line in lines]
    ids = [tuple(chat.prompt_ids(messages).ids) for messages in chats]
    gguf = embedded_source(EMBEDDED) if options.model == f"builtin://{EMBEDDED}" else None
    work = Work(model, gguf, chats, ids, options.samples, options.tokens)
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
    parser.add_argument("--model", default=f"builtin://{EMBEDDED}")
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
