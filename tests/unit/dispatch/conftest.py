"""Calls as they come about in a run: from a specification and what its steps have published."""

import hashlib
from collections.abc import Callable

import pytest

from selfie.dispatch.calls import StepCall
from selfie.runs.lineage import pin, sources_of
from selfie.runs.load import parse_run
from selfie.runs.observed import ManifestSummary
from selfie.runs.steps import step_at, steps_of

RUN = """
apiVersion: selfie.dev/v1alpha1
kind: SelfieRun
metadata: {{name: toy}}
spec:
  model: {{uri: builtin://toy}}
  seed:
    {{dataset: seed.jsonl, size: 8, heldout: heldout.jsonl, heldoutSize: 4, learningRate: "1e-5", epochs: 2}}
  rounds:
  - prompts: {{dataset: prompts.jsonl, count: 8}}
  - prompts: {{dataset: prompts.jsonl, from: 8, count: 8}}
    lambda: "0.125"
  evaluation:
    prompts: {{dataset: prompts.jsonl, from: 16, count: 8}}
    evaluator: bradleyTerry
  {extra}
"""
RUN_URI = "file:///runs/toy"
RUN_UID = "0b9a1c52-6f0e-4d0e-9d55-5b1a2f4c7e11"


def digest(*parts: str) -> str:
    return hashlib.sha256("/".join(parts).encode()).hexdigest()


@pytest.fixture
def make_call() -> Callable[..., StepCall]:
    """The call of the step at ``path``; ``extra`` is more YAML of the spec, on one line each."""

    def make(path: str, *, attempt: int = 1, extra: str = "") -> StepCall:
        run = parse_run(RUN.format(extra=extra.replace("\n", "\n  ")))
        manifests = {
            step.path: ManifestSummary(
                sha256=digest(step.path),
                digests={group: digest(step.path, group) for group in ("model", "reference", "checkpoint")},
            )
            for step in steps_of(run.spec)
        }
        step = step_at(path)
        assert step is not None
        inputs = pin(sources_of(run.spec, step, ()), manifests)
        return StepCall(run, RUN_URI, RUN_UID, step, attempt, inputs)

    return make
