from collections.abc import Callable
from typing import Any

import pytest
import yaml

from simulated_release import SimulatedRelease

RUN = """
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
"""


@pytest.fixture
def run_object() -> Callable[..., dict[str, Any]]:
    """``run_object(name=..., retries=1)``: three rounds, with other values in the specification."""

    def make(*, name: str = "toy", **spec: Any) -> dict[str, Any]:
        document = yaml.safe_load(RUN)
        document["metadata"]["name"] = name
        document["spec"].update(spec)
        return document

    return make


@pytest.fixture
def release() -> SimulatedRelease:
    return SimulatedRelease()
