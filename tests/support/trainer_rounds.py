"""A run whose round 1 is ready to be trained: real manifests, real weights of the tiny model."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from selfie.artifacts.manifests import Manifest, ManifestRef, publish
from selfie.artifacts.rows import PAIR_SCHEMA, PREFERENCE_SCHEMA
from selfie.artifacts.shards import write_shard
from selfie.artifacts.store import Store, open_store
from selfie.artifacts.weights import add_directory, pull, weights_digest
from selfie.models.loading import load_policy
from selfie.training.trainer.program import train

RUN, POLICY_STEP, FILTER_STEP, TRAIN_STEP = (
    "run-1",
    "rounds/00/publish",
    "rounds/01/filter",
    "rounds/01/train",
)
PAIRS = 24


def publish_step(store: Store, step: str, files: Any, **fields: Any) -> ManifestRef:
    now = datetime.now(UTC)
    manifest = Manifest(
        run_uid=RUN,
        round=0,
        step=step,
        attempt=1,
        writer="w",
        files=tuple(files),
        started_at=now,
        finished_at=now,
    )
    return publish(store, manifest.model_copy(update=fields))


def ids(rng: np.random.Generator, tokens: int, low: int, high: int) -> list[int]:
    return [int(token) for token in rng.integers(low, high, rng.integers(1, tokens))]


def preference(number: int, rng: np.random.Generator) -> dict[str, Any]:
    return {
        "prompt_id": f"q{number}",
        "messages": [{"role": "user", "content": "?"}],
        "prompt_ids": ids(rng, 12, 3, 300),
        "prompt_digest": "0" * 64,
        "truncated": False,
        "source": None,
        "pair_id": f"p{number}",
        "chosen_text": "",
        "chosen_ids": [*ids(rng, 20, 3, 200), 2],
        "rejected_text": "",
        "rejected_ids": [*ids(rng, 20, 100, 300), 2],
        "ids_from": "engine",
    }


def logprob(model: Any, prompt: list[int], response: list[int]) -> float:
    logits = model(input_ids=torch.tensor([[*prompt, *response]])).logits[0, len(prompt) - 1 : -1]
    return float(logits.log_softmax(-1).gather(1, torch.tensor(response)[:, None]).sum().detach())


def scored(row: dict[str, Any], model: Any, digest: str) -> dict[str, Any]:
    """A pair as scoring and filtering leave it, with log-probabilities in float64."""
    sides: dict[str, Any] = {}
    for side in ("chosen", "rejected"):
        own = logprob(model, row["prompt_ids"], row[f"{side}_ids"])
        sides |= {
            f"{side}_finish_reason": "stop",
            f"{side}_index": 0,
            f"{side}_policy_logprob": own,
            f"{side}_reference_logprob": own,
            f"{side}_extrapolated_logprob": own,
            f"{side}_tokens": len(row[f"{side}_ids"]),
            f"{side}_reward": 0.0,
        }
    names = ("margin", "margin_mean", "extrapolated_margin", "confidence", "extrapolated_confidence")
    judged = dict.fromkeys(names, 0.0) | {"probability": 0.5, "extrapolated_probability": 0.5}
    how = {"judge": "implicit", "pairing": "best_worst", "beta": 0.1, "lambda": 0.0, "normalization": "sum"}
    origin = {
        "policy_digest": digest,
        "reference_digest": digest,
        "tokenizer_digest": "0" * 64,
        "precision": "exact",
        "tie_band": 1e-4,
        "kept": True,
        "soft_label": 1.0,
    }
    return row | sides | judged | how | origin


class Run:
    """A run whose round 1 is ready to be trained."""

    def __init__(self, root: Path, checkpoint: Path) -> None:
        self.root = root
        self.store = open_store(f"file://{root}/store")
        entries = add_directory(self.store, checkpoint, group="checkpoint", path="policy", keep_source=True)
        self.policy_digest = weights_digest(entries)
        publish_step(self.store, POLICY_STEP, entries)
        rng = np.random.default_rng(0)
        rows = [preference(number, rng) for number in range(PAIRS)]
        exact = load_policy(checkpoint).double()
        self.rows = [scored(row, exact, self.policy_digest) for row in rows]
        self.seed = self.publish("prepare", rows, PREFERENCE_SCHEMA, "seed")
        self.pairs = self.publish(FILTER_STEP, self.rows, PAIR_SCHEMA, "pairs")

    def publish(self, step: str, rows: list[dict[str, Any]], schema: pa.Schema, group: str) -> ManifestRef:
        table = pa.Table.from_pylist(rows, schema=schema)
        shard = write_shard(
            self.store, f"{step}/data.parquet", table, schema=schema, group=group, name="data"
        )
        return publish_step(self.store, step, [shard])

    def parameters(self, *, number: int = 1, step: str = TRAIN_STEP, **changes: Any) -> dict[str, Any]:
        plain = {
            "attempt": {"runUri": self.store.uri, "step": step, "number": number, "runUid": RUN},
            "kind": "round",
            "policy": {"step": POLICY_STEP, "digest": self.policy_digest},
            "pairs": {"path": self.pairs.path, "sha256": self.pairs.sha256, "group": "pairs"},
            "learningRate": 2e-3,
            "epochs": 2,
            "batch": 8,
            "microBatch": 4,
            "smoothing": 0.3,
            "noisyPercent": 30,
            "window": 12,
            "lambda": 0.5,
            "threads": 1,
            "cacheDir": f"{self.root}/cache",
        }
        return plain | changes

    def train(self, **changes: Any) -> Manifest:
        return train(self.store, self.parameters(**changes), stopping=lambda: False)

    def write_parameters(self, **changes: Any) -> Path:
        """The file that a program is told by."""
        file = self.root / "parameters.json"
        file.write_text(json.dumps(self.parameters(**changes)))
        return file

    def progress(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.store.read(f"{TRAIN_STEP}/a1/progress.json"))
        return found

    def checkpoint(self, manifest: Manifest) -> Path:
        return pull(self.store, manifest.group("checkpoint"), self.root / "pulled")
