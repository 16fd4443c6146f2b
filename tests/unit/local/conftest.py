from collections.abc import Callable
from pathlib import Path

import pytest

from selfie.runs.load import parse_run
from selfie.runs.spec import SelfieRun

RUN = """
apiVersion: selfie.dev/v1alpha1
kind: SelfieRun
metadata: {{name: toy}}
spec:
  model: {{uri: {model}}}
  {reference}
  seed: {{dataset: data/seed.jsonl, heldout: data/heldout.jsonl}}
  rounds:
{rounds}
  training: {{beta: "{beta}"}}
  evaluation: {{prompts: {{dataset: s3://bucket/prompts.jsonl}}}}
  retries: {retries}
"""


@pytest.fixture
def run_of() -> Callable[..., SelfieRun]:
    """Makes a run's specification."""

    def make(
        *,
        model: str = "builtin://toy",
        reference: str = "",
        rounds: int = 1,
        beta: str = "0.1",
        retries: int = 3,
    ) -> SelfieRun:
        lines = "\n".join(["  - prompts: {dataset: data/prompts.jsonl}"] * rounds)
        return parse_run(
            RUN.format(model=model, reference=reference, rounds=lines, beta=beta, retries=retries)
        )

    return make


@pytest.fixture
def artifacts(tmp_path: Path) -> str:
    """A folder of runs, as a URI."""
    return (tmp_path / "runs").as_uri()
