"""A run's first data and parameters, and programs that read them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from selfie.artifacts.manifests import Manifest, read_manifest
from selfie.artifacts.programs import run_program
from selfie.artifacts.store import Store, open_store


def write_rows(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def pair(number: int) -> dict[str, Any]:
    return {
        "id": f"pair-{number}",
        "prompt": [{"role": "user", "content": f"What lies {number} miles from the sea?"}],
        "chosen": f"A town of {number} houses.",
        "rejected": "Sand.",
        "source": "hand",
    }


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "run").as_uri())


@pytest.fixture
def settings(tiny_checkpoint: Path, tmp_path: Path, store: Store) -> dict[str, Any]:
    seed = write_rows(tmp_path / "seed.jsonl", [pair(number) for number in range(5)])
    heldout = write_rows(tmp_path / "heldout.jsonl", [pair(number) for number in range(10, 13)])
    prompts = write_rows(
        tmp_path / "prompts.jsonl", [{"prompt": f"Tell me about boat {n}."} for n in range(6)]
    )
    return {
        "attempt": {"runUri": store.uri, "step": "prepare", "number": 1, "runUid": "run-1"},
        "model": {"uri": str(tiny_checkpoint), "revision": None},
        "referenceModel": None,
        "seed": {"dataset": seed, "size": 4},
        "heldout": {"dataset": heldout, "size": 0},
        "rounds": [
            {"dataset": prompts, "from": 0, "count": 2},
            {"dataset": prompts, "from": 2, "count": 3},
        ],
        "evaluation": {"dataset": prompts, "from": 5, "count": 0},
        "maxPromptTokens": 256,
        "randomSeed": 1,
        "cacheDir": str(tmp_path / "cache"),
    }


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., int]:
    def start(program: Callable[[Store, dict[str, Any]], Manifest], parameters: dict[str, Any]) -> int:
        path = tmp_path / "parameters.json"
        path.write_text(json.dumps(parameters))
        return run_program(program, ["--parameters", str(path)])

    return start


def published(store: Store, step: str) -> Manifest:
    manifest = read_manifest(store, step)
    assert manifest is not None
    return manifest


def failure(store: Store) -> dict[str, Any]:
    return json.loads(store.read("prepare/a1/error.json"))["error"]
