"""A small run that was never computed: manifests and rows as the services publish them."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pyarrow as pa

from reported_rows import EASY, HARD, NOON, pair, ratings, response
from selfie.artifacts.manifests import Adopted, Manifest, publish
from selfie.artifacts.rows import PAIR_SCHEMA, RATING_SCHEMA, SAMPLE_SCHEMA, SCORED_SCHEMA
from selfie.artifacts.shards import write_shard
from selfie.artifacts.store import Store

NOISE_SCHEMA = pa.schema([("pair_id", pa.string()), ("times_noisy", pa.int32())])


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
