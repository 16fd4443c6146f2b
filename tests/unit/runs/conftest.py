"""A toy world of three rounds for the planner, and changes of what it sees."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from selfie.runs.load import parse_run
from selfie.runs.observed import Observed
from selfie.runs.spec import RunSpec
from toy_work import Disturbance
from toy_world import World

THREE_ROUNDS = """
apiVersion: selfie.dev/v1alpha1
kind: SelfieRun
metadata: {name: toy}
spec:
  model: {uri: hf://toy/model}
  seed: {dataset: seed.jsonl, heldout: heldout.jsonl}
  rounds:
  - prompts: {dataset: prompts.jsonl, count: 8}
  - prompts: {dataset: prompts.jsonl, from: 8, count: 8}
  - prompts: {dataset: prompts.jsonl, from: 16, count: 8}
  evaluation:
    prompts: {dataset: prompts.jsonl, from: 24, count: 8}
"""


@pytest.fixture
def three_rounds() -> RunSpec:
    return parse_run(THREE_ROUNDS).spec


@pytest.fixture
def evaluated(three_rounds: RunSpec) -> RunSpec:
    """The three rounds, whose responses are rated by an evaluator that the run fits."""
    document = three_rounds.model_dump(by_alias=True)
    document["seed"]["size"] = 8
    document["evaluation"]["evaluator"] = "bradleyTerry"
    return RunSpec.model_validate(document)


@pytest.fixture
def make_world(three_rounds: RunSpec) -> Callable[..., World]:
    """``make_world(spec=..., fails=..., ...)``: a world of the three rounds unless told otherwise."""

    def make(spec: RunSpec | None = None, **fields: Any) -> World:
        return World(spec or three_rounds, **fields)

    return make


@pytest.fixture
def disturb() -> type[Disturbance]:
    return Disturbance


@pytest.fixture
def changed() -> Callable[..., RunSpec]:
    """``changed(spec, suspend=True)``: the spec with other values, as a user's edit would make it."""

    def change(spec: RunSpec, **values: Any) -> RunSpec:
        return RunSpec.model_validate(spec.model_copy(update=values).model_dump(by_alias=True))

    return change


@pytest.fixture
def later() -> Callable[[Observed, Mapping[str, Any]], Observed]:
    return lambda observed, values: replace(observed, **values)
