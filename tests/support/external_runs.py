"""A whole run on this machine whose samples come from a server that somebody else has started."""

import os
import subprocess
import sys
from pathlib import Path

from tiny_data import write_data

ROOT = Path(__file__).resolve().parents[2]
SPEC = """
apiVersion: selfie.dev/v1alpha1
kind: SelfieRun
metadata: {{name: whole}}
spec:
  model: {{uri: {model}}}
  seed: {{dataset: seed.jsonl, heldout: heldout.jsonl, epochs: 1, learningRate: "1e-3"}}
  rounds:
    - prompts: {{dataset: prompts.jsonl}}
  generation: {{engine: openai, maxNewTokens: 8, maxPromptTokens: 128, allowRetokenized: true}}
  filter: {{cut: keep}}
  training: {{batch: 2, learningRate: "1e-3"}}
"""


def write_run(directory: Path, model: Path) -> Path:
    """The run's file with its data beside it."""
    write_data(directory, seed=4, heldout=4, prompts=3)
    file = directory / "run.yaml"
    file.write_text(SPEC.format(model=model))
    return file


def run(file: Path, artifacts: Path, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """``selfie run`` of the file, to its end, with further variables of the environment."""
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}/services:{ROOT}/operator",
        "OMP_NUM_THREADS": "1",
        **variables,
    }
    command = [sys.executable, "-m", "selfie.cli", "run", str(file), "--artifacts", str(artifacts), *options]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
