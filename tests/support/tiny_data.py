"""Data sets for runs on a tiny random model, which learns from anything."""

import json
from pathlib import Path
from typing import Any

SENTENCES = (
    "the cat sat on the mat",
    "a dog ran to the sea",
    "we had tea at two",
    "rain fell on the old roof",
)


def write_data(directory: Path, *, seed: int, heldout: int, prompts: int) -> None:
    """`seed.jsonl`, `heldout.jsonl` and `prompts.jsonl` with so many rows each."""
    _write(directory / "seed.jsonl", [_pair("seed", index) for index in range(seed)])
    _write(directory / "heldout.jsonl", [_pair("heldout", index) for index in range(heldout)])
    rows = [{"id": f"p{n}", "prompt": _prompt(f"tell me of {n}")} for n in range(prompts)]
    _write(directory / "prompts.jsonl", rows)


def _pair(name: str, index: int) -> dict[str, Any]:
    return {
        "id": f"{name}-{index}",
        "prompt": _prompt(f"{name} question {index}"),
        "chosen": SENTENCES[index % 4],
        "rejected": SENTENCES[(index + 1) % 4],
    }


def _prompt(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
