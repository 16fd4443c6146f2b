"""A small run that was never computed: manifests and rows as the services publish them."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from selfie.artifacts.manifests import Adopted, Manifest, publish
from selfie.artifacts.rows import PAIR_SCHEMA, RATING_SCHEMA, SAMPLE_SCHEMA, SCORED_SCHEMA
from selfie.artifacts.shards import write_shard
from selfie.artifacts.store import Store, open_store
from selfie.runs.load import parse_run
from selfie.runs.spec import SelfieRun

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
EASY = "The cat sat on the mat. It was warm."
HARD = "Institutional considerations necessitate comprehensive organizational deliberation."
NOISE_SCHEMA = pa.schema([("pair_id", pa.string()), ("times_noisy", pa.int32())])
RUN = """
apiVersion: selfie.dev/v1alpha1
kind: SelfieRun
metadata: {{name: toy}}
spec:
  model: {{uri: builtin://toy}}
  seed: {{dataset: seed.jsonl, heldout: heldout.jsonl, size: 8}}
  rounds:
  - prompts: {{dataset: prompts.jsonl}}
  scoring: {{lengthNormalization: {normalization}}}
  training: {{refinement: {refinement}}}
  evaluation:
    prompts: {{dataset: prompts.jsonl}}
    evaluator: {evaluator}
"""
_PROMPT = {
    "messages": [{"role": "user", "content": "What is a cat?"}],
    "prompt_ids": [1, 2],
    "prompt_digest": "d",
    "truncated": False,
}
_PROVENANCE = {"policy_digest": "p", "reference_digest": "r", "tokenizer_digest": "t", "precision": "exact"}


def make_run(
    *, normalization: str = "sum", refinement: str = "online", evaluator: str = "readingEase"
) -> SelfieRun:
    fields = {"normalization": normalization, "refinement": refinement, "evaluator": evaluator}
    return parse_run(RUN.format(**fields))


def pair(pair_id: str, **fields: Any) -> dict[str, Any]:
    """A row by PAIR_SCHEMA; a margin may be given, and any other column."""
    margin = fields.pop("margin", 1.0)
    sides: dict[str, Any] = {}
    for side, text, reward in (("chosen", EASY, margin), ("rejected", HARD, 0.0)):
        sides |= {
            f"{side}_text": text,
            f"{side}_ids": [3, 4],
            f"{side}_finish_reason": "stop",
            f"{side}_index": 0,
            f"{side}_policy_logprob": -1.0,
            f"{side}_reference_logprob": -1.0,
            f"{side}_extrapolated_logprob": -1.0,
            f"{side}_tokens": 2,
            f"{side}_reward": reward,
        }
    known = {
        **_PROMPT,
        **_PROVENANCE,
        **sides,
        "prompt_id": pair_id,
        "pair_id": pair_id,
        "ids_from": "engine",
        "judge": "implicit",
        "pairing": "best_worst",
        "beta": 0.1,
        "lambda": 0.5,
        "normalization": "sum",
        "margin": margin,
        "margin_mean": margin / 2,
        "extrapolated_margin": margin,
        "probability": 0.625,
        "extrapolated_probability": 0.5,
        "confidence": 0.25,
        "extrapolated_confidence": 0.0,
        "tie_band": 0.001,
        "kept": True,
        "reason": "",
        "noisy": False,
        "suspicions": [],
        "threshold": 0.1,
        "soft_label": 1.0,
    }
    return {**known, **fields}


def response(prompt_id: str, text: str) -> dict[str, Any]:
    """A row by SCORED_SCHEMA."""
    numbers = ("policy_logprob", "reference_logprob", "extrapolated_logprob", "lambda", "reward")
    return {
        **_PROMPT,
        **_PROVENANCE,
        **dict.fromkeys((*numbers, "reward_mean", "error_bound", "divergence"), 0.0),
        "prompt_id": prompt_id,
        "sample_index": 0,
        "seed": 1,
        "response_text": text,
        "response_ids": [3],
        "ids_from": "engine",
        "finish_reason": "stop",
        "engine": "toy",
        "tokens": 1,
    }


def ratings(values: Sequence[float]) -> list[dict[str, Any]]:
    """Rows by RATING_SCHEMA of the first responses to the prompts ``e0``, ``e1``, …"""
    return [
        {"prompt_id": f"e{index}", "sample_index": 0, "rating": value, "evaluator_digest": "d"}
        for index, value in enumerate(values)
    ]


class ToyRun:
    """Publishes steps into a store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def add(
        self,
        step: str,
        *,
        rows: Mapping[str, tuple[pa.Schema, Sequence[Mapping[str, Any]]]] | None = None,
        counts: Mapping[str, int] | None = None,
        measures: Mapping[str, float] | None = None,
        origin: str = "",
    ) -> None:
        files = []
        for group, (schema, values) in (rows or {}).items():
            name = f"{group}-00000.parquet"
            table = pa.Table.from_pylist([dict(row) for row in values], schema=schema)
            path = f"{step}/a1/{name}"
            files.append(write_shard(self.store, path, table, schema=schema, group=group, name=name))
        number = int(step.split("/")[1]) if "/" in step else 0
        publish(
            self.store,
            Manifest(
                run_uid="uid",
                round=number,
                step=step,
                attempt=1,
                writer="w",
                files=tuple(files),
                counts=dict(counts or {}),
                measures=dict(measures or {}),
                started_at=NOON,
                finished_at=NOON + timedelta(seconds=30),
                adopted=Adopted(run_uri=origin, sha256="a" * 64) if origin else None,
            ),
        )

    def pairs(self, step: str, rows: Sequence[Mapping[str, Any]], **figures: Any) -> None:
        self.add(step, rows={"pairs": (PAIR_SCHEMA, rows)}, **figures)

    def heldout(self, number: int, margins: Sequence[float], **fields: Any) -> None:
        """Held-out pairs with these margins, and the measures that go with them."""
        rows = [pair(f"h{index}", margin=margin, **fields) for index, margin in enumerate(margins)]
        right = sum(margin > 0 for margin in margins) / len(margins)
        measures = {"accuracy": right, "accuracy_low": right / 2, "accuracy_high": (1 + right) / 2}
        measures |= {"accuracy_mean": 0.4375, "accuracy_mean_low": 0.25, "accuracy_mean_high": 0.625}
        baselines = {"accuracy_longer": 0.59, "accuracy_reference_mean": 0.61, "n": float(len(margins))}
        self.pairs(f"rounds/{number:02d}/evaluate-heldout", rows, measures=measures | baselines)

    def pairs_named(self, number: int, names: Sequence[str]) -> None:
        """Held-out pairs of these names, all judged rightly."""
        self.pairs(f"rounds/{number:02d}/evaluate-heldout", [pair(name) for name in names])

    def responses(self, number: int, texts: Sequence[str], **measures: float) -> None:
        rows = [response(f"e{index}", text) for index, text in enumerate(texts)]
        figures = {"mean_tokens": 21.5, "finished_share": 0.875, "divergence": 0.0123, **measures}
        self.add(
            f"rounds/{number:02d}/evaluate-measures",
            rows={"responses": (SCORED_SCHEMA, rows)},
            measures=figures,
        )

    def initial(self, texts: Sequence[str]) -> None:
        """Responses of the initial model, which nobody has scored."""
        rows = [response(f"e{index}", text) for index, text in enumerate(texts)]
        samples = [{name: row[name] for name in SAMPLE_SCHEMA.names if name != "source"} for row in rows]
        self.add("rounds/00/evaluate-initial", rows={"samples": (SAMPLE_SCHEMA, samples)})

    def fitted(self, initial: Sequence[float]) -> None:
        """An evaluator, its ratings of the initial model's responses, and what it is worth."""
        self.add(
            "rounds/00/evaluator",
            rows={
                "evaluator": (RATING_SCHEMA, ratings([])),
                "initial-ratings": (RATING_SCHEMA, ratings(initial)),
            },
            counts={"pairs": 900, "heldout": 1000},
            measures={
                "heldout_accuracy": 0.63,
                "heldout_accuracy_low": 0.6,
                "heldout_accuracy_high": 0.66,
                "heldout_longer": 0.6,
                "heldout_longer_low": 0.57,
                "heldout_longer_high": 0.63,
            },
        )

    def rated(self, number: int, values: Sequence[float]) -> None:
        """Ratings of the round's responses by that evaluator."""
        rows = {"ratings": (RATING_SCHEMA, ratings(values))}
        self.add(f"rounds/{number:02d}/evaluate-ratings", rows=rows)

    def whole(self) -> "ToyRun":
        """A seed and one round, with every step that has something to say."""
        self.add("prepare", counts={"seed": 8, "heldout": 4})
        self.add("rounds/00/seed", measures={"loss_first": 0.693, "loss_last": 0.5, "train_accuracy": 0.75})
        self.add("rounds/00/publish")
        self.add("rounds/00/serve")
        self.add("rounds/00/evaluate-samples", counts={"samples": 2})
        self.heldout(0, [1.0, -1.0, 1.0, -1.0])
        self.responses(0, [HARD, EASY])
        self.add(
            "rounds/01/generate", counts={"samples": 8}, measures={"mean_tokens": 20, "finished_share": 1}
        )
        quantiles = {"margin_q10": 0.011, "margin_q50": 0.222, "margin_q90": 0.333}
        self.add(
            "rounds/01/score",
            counts={"pairs": 4, "ties": 3, "identical": 2, "too_few": 0, "unfinished": 1},
            measures={**quantiles, "mean_confidence": 0.456, "error_bound_max": 0.00077},
        )
        rows = [
            pair("a", margin=0.9),
            pair("b", margin=0.1, noisy=True, chosen_text=HARD, rejected_text=EASY),
            pair("c", margin=0.5, chosen_text=EASY, rejected_text=EASY),
            pair("d", margin=0.7, kept=False, reason="cut-winner"),
        ]
        self.pairs(
            "rounds/01/filter",
            rows,
            counts={"kept": 3, "noisy": 1, "pairs": 4, "low_confidence": 1, "cut_winner": 1, "tie": 0},
            measures={"kept_share": 0.75, "noisy_share": 0.25},
        )
        self.train(z_ones=2.0, times={"a": 0, "b": 2, "c": 0})
        self.add("rounds/01/publish")
        self.add("rounds/01/serve")
        self.add("rounds/01/evaluate-samples", counts={"samples": 2})
        self.heldout(1, [1.0, 1.0, 1.0, -1.0])
        self.responses(1, [EASY, EASY], mean_tokens=33.5)
        return self

    def train(self, *, z_ones: float, times: Mapping[str, int] | None = None, **measures: float) -> None:
        figures = {"loss_first": 0.7, "loss_last": 0.654, "train_accuracy": 0.8, "z_ones": z_ones}
        detector = {"window": 16.0, "warmup_steps": 2.0, "steps": 9.0, "noisy_steps": 7.0}
        noise = [{"pair_id": name, "times_noisy": count} for name, count in (times or {}).items()]
        self.add(
            "rounds/01/train",
            rows={"noise": (NOISE_SCHEMA, noise)} if times else None,
            measures={**figures, **detector, "parity_max_error": 0.00042, **measures},
        )


@pytest.fixture
def toy(tmp_path: Path) -> ToyRun:
    """An empty run to publish steps into."""
    return ToyRun(open_store((tmp_path / "runs" / "toy").as_uri()))


@pytest.fixture
def toy_at() -> Callable[[Store], ToyRun]:
    """Makes a run to publish steps into a store."""
    return ToyRun


@pytest.fixture
def run_of() -> Callable[..., SelfieRun]:
    """Makes the run's specification."""
    return make_run


@pytest.fixture
def pair_of() -> Callable[..., dict[str, Any]]:
    """Makes a row of a pair."""
    return pair


@pytest.fixture
def response_of() -> Callable[[str, str], dict[str, Any]]:
    """Makes a row of a scored response."""
    return response
