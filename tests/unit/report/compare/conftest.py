"""Runs to compare: made by hand, or published into stores as a run publishes them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from selfie.artifacts.rows import PAIR_SCHEMA, SCORED_SCHEMA
from selfie.artifacts.store import open_store
from selfie.compare.runs import JudgedRound, JudgedRun
from selfie.method.statistics import accuracy
from selfie.report.agreements import Agreement
from selfie.report.heldout import HeldoutPairs, heldout_of
from selfie.report.ratings import Rated, rate
from selfie.runs.load import dump_run, object_of, run_from_object
from selfie.runs.spec import SelfieRun

EASY = "The cat sat on the mat. It was warm."
HARD = "Institutional considerations necessitate comprehensive organizational deliberation."


@pytest.fixture
def spec_of(run_of: Callable[..., SelfieRun]) -> Callable[..., SelfieRun]:
    """A run with another name, random seed or field, given by its path: ``training__beta="0.2"``."""

    def make(name: str, *, seed: int = 1, **fields: Any) -> SelfieRun:
        data = object_of(run_of())
        data["metadata"]["name"] = name
        data["spec"]["randomSeed"] = seed
        for path, value in fields.items():
            *above, last = path.split("__")
            place = data["spec"]
            for key in above:
                place = place.setdefault(key, {})
            place[last] = value
        return run_from_object(data)

    return make


@pytest.fixture
def pairs_of(pair_of: Callable[..., dict[str, Any]]) -> Callable[..., HeldoutPairs]:
    """Held-out pairs with these margins, named ``h0``, ``h1``, … unless other names are given."""

    def make(margins: Sequence[float], names: Sequence[str] | None = None, **fields: Any) -> HeldoutPairs:
        named = names or [f"h{index}" for index in range(len(margins))]
        rows = [pair_of(name, margin=margin, **fields) for name, margin in zip(named, margins, strict=True)]
        found = heldout_of(pa.Table.from_pylist(rows, schema=PAIR_SCHEMA))
        assert found is not None
        return found

    return make


@pytest.fixture
def rated(response_of: Callable[[str, str], dict[str, Any]]) -> Callable[[Sequence[str]], Rated]:
    """Responses to the prompts ``e0``, ``e1``, …, rated for how easy they read."""

    def make(texts: Sequence[str]) -> Rated:
        rows = [response_of(f"e{index}", text) for index, text in enumerate(texts)]
        return rate("readingEase", pa.Table.from_pylist(rows, schema=SCORED_SCHEMA))

    return make


@pytest.fixture
def judged(
    spec_of: Callable[..., SelfieRun], pairs_of: Callable[..., HeldoutPairs]
) -> Callable[..., JudgedRun]:
    """A run whose rounds, from 0, judged their pairs with these margins.

    ``fitted`` is the digest of an evaluator that agrees with people on two of three pairs.
    """

    def make(
        name: str,
        *rounds: Sequence[float] | HeldoutPairs,
        run: SelfieRun | None = None,
        seed: int = 1,
        best: int | None = None,
        responses: Mapping[int, Rated] | None = None,
        baselines: Mapping[str, Rated] | None = None,
        weights: str = "",
        fitted: str = "",
    ) -> JudgedRun:
        found = tuple(
            JudgedRound(
                number=number,
                heldout=each if isinstance(each, HeldoutPairs) else pairs_of(each),
                weights=weights or f"{name}-{number}",
                responses=(responses or {}).get(number, {}),
                measures={"divergence": 0.0123, "mean_tokens": 21.5, "finished_share": 0.875},
            )
            for number, each in enumerate(rounds)
        )
        spec = (run or spec_of(name, seed=seed)).spec
        worth = Agreement(fitted, 900, accuracy([1.0, 1.0, -1.0]), accuracy([1.0, -1.0])) if fitted else None
        uri, others = f"file:///runs/{name}", baselines or {}
        return JudgedRun(name, uri, spec, "Completed", best, found, others, worth)

    return make


@pytest.fixture
def publish(toy_at, spec_of, tmp_path: Path):
    """Publishes a run below ``runs/``: its file, and the held-out margins and the responses of its rounds."""

    def make(
        name: str,
        *rounds: Sequence[float],
        texts: Sequence[str] = (),
        run: SelfieRun | None = None,
        folder: str = "runs",
    ) -> Path:
        place = tmp_path / folder / name
        store = open_store(place.as_uri())
        store.write("run.yaml", dump_run(run or spec_of(name)).encode())
        toy = toy_at(store)
        for number, margins in enumerate(rounds):
            toy.heldout(number, margins)
            if texts:
                toy.responses(number, texts)
        return place

    return make
