"""A run on a tiny random model whose processes can be killed, and what it has made."""

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from selfie.artifacts.manifests import Manifest, read_manifest, verify
from selfie.artifacts.run_files import read_run, read_status
from selfie.artifacts.store import Store, open_store
from selfie.local.nurseries import NURSERY_VARIABLE
from selfie.processes.births import Born, process_birth
from selfie.processes.spawning import Nursery, Order
from selfie.runs.lineage import added_rounds
from selfie.runs.steps import steps_of
from tiny_data import write_data

# What depends on the machine or on which start of a program came to the end.
PACE = frozenset({"seconds", "threads", "tokens_per_second", "pairs_per_second"})
SPEC = """
apiVersion: selfie.dev/v1alpha1
kind: SelfieRun
metadata: {{name: tiny}}
spec:
  model: {{uri: {model}}}
  randomSeed: 11
  seed: {{dataset: seed.jsonl, heldout: heldout.jsonl, epochs: 6, learningRate: "1e-3"}}
  rounds:
    - prompts: {{dataset: prompts.jsonl, count: 40}}
  generation: {{maxNewTokens: 24, maxPromptTokens: 128}}
  filter: {{cut: keep, window: 4}}
  training: {{batch: 2, learningRate: "1e-3", epochs: 3}}
  checkpointSeconds: 1
  evaluation:
    prompts: {{dataset: prompts.jsonl, from: 40, count: 6}}
"""

# Its name is in the cards of checkpoints, so that it is one wherever runs are to make the same.
MODEL = "model"
# Rows of the data sets that the run reads.
DATA = {"seed": 16, "heldout": 80, "prompts": 46}


def write_run(directory: Path, model: Path) -> Path:
    """The run's file with its data beside it."""
    write_data(directory, **DATA)
    file = directory / "run.yaml"
    file.write_text(SPEC.format(model=model))
    return file


def write_sources(directory: Path, model: Path) -> None:
    """The run's data and a copy of its model, which ``SPEC.format(model=MODEL)`` finds beside its file."""
    shutil.copytree(model, directory / MODEL)
    write_data(directory, **DATA)


@dataclass
class TinyRun:
    """One run in one directory; the same command, again and again, until it has ended."""

    file: Path
    artifacts: Path
    nursery: Nursery
    runner: Born | None = None
    starts: int = 0
    kills: list[str] = field(default_factory=list)

    @property
    def root(self) -> Path:
        return self.artifacts / "tiny"

    @property
    def store(self) -> Store:
        return open_store(self.root.as_uri())

    @property
    def log(self) -> Path:
        return self.artifacts / "runner.log"

    def start(self) -> None:
        """The command of a user, typed once more."""
        self.artifacts.mkdir(parents=True, exist_ok=True)
        environment = {
            NURSERY_VARIABLE: str(self.nursery.address),
            "SELFIE_LEASE_SECONDS": "1",
            "OMP_NUM_THREADS": "1",
        }
        arguments = ("run", str(self.file), "--artifacts", str(self.artifacts))
        self.runner = self.nursery.spawn(Order("selfie.cli", arguments, self.log, environment))
        self.starts += 1

    def processes(self) -> dict[str, Born]:
        """What runs now, by name: whoever writes into a log of this run."""
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                output = (process / "fd/1").readlink()
                name = output.stem if output.parent.name == "services" else "trainer"
                birth = process_birth(int(process.name))
                if birth and output == self.log:
                    found["runner"] = Born(int(process.name), birth)
                elif birth and output.is_relative_to(self.root):
                    found[name] = Born(int(process.name), birth)
        return found

    def kill(self, *names: str) -> None:
        """SIGKILL to these processes, or to all of them at once."""
        alive = self.processes()
        for name in names or sorted(alive):
            if name in alive:
                alive[name].send(signal.SIGKILL)
                self.kills.append(name)

    def published(self) -> set[str]:
        """Steps that have their manifest."""
        return self._steps_with("manifest.json")

    def under_way(self) -> set[str]:
        """Steps that have begun."""
        return self._steps_with("a1") - self.published()

    def _steps_with(self, name: str) -> set[str]:
        # Not `**`: a trainer's checkpoints come and go below.
        found = (*self.root.glob(f"*/{name}"), *self.root.glob(f"rounds/*/*/{name}"))
        return {str(path.parent.relative_to(self.root)) for path in found}

    @property
    def has_ended(self) -> bool:
        return not self._runs() and read_status(self.store).is_terminal

    def finish(self, *, seconds: float = 240) -> None:
        """Lets it run, starting it again whenever nothing runs it, until it has ended."""
        self.until(lambda: self.has_ended, seconds=seconds)

    def until(self, condition: Callable[[], bool], *, seconds: float = 240) -> None:
        """Waits, with somebody who types the command again whenever it is gone."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.log.read_text()[-3000:]
            if not self._runs() and not self.has_ended:
                self.start()
            time.sleep(0.02)

    def _runs(self) -> bool:
        return self.runner is not None and self.runner.is_alive

    def close(self) -> None:
        """Ends whatever is left of it."""
        while self.processes():
            self.kill()
            time.sleep(0.05)


def made_by(store: Store) -> Mapping[str, Any]:
    """What a run has made, step by step, apart from the pace of it; verified file by file."""
    run = read_run(store)
    found: dict[str, Any] = {}
    for step in steps_of(run.spec, added_rounds(run.spec, {})):
        manifest = read_manifest(store, step.path)
        assert manifest is not None, f"{step.path} is not published"
        verify(store, manifest)
        found[step.path] = _facts(manifest)
    return found


def _facts(manifest: Manifest) -> Mapping[str, Any]:
    return {
        "files": sorted((entry.group, entry.rows, entry.sha256) for entry in manifest.files),
        "counts": manifest.counts,
        "measures": {name: value for name, value in manifest.measures.items() if name not in PACE},
        "weights": manifest.weights_digest,
    }


def shards_written_twice(root: Path) -> list[str]:
    """Finished shards of one attempt that more than one writer has finished."""
    seen: dict[tuple[str, str], int] = {}
    for path in root.glob("**/*.parquet.json"):
        shard = json.loads(path.read_text())
        key = (str(path.parent), shard["name"])
        seen[key] = seen.get(key, 0) + 1
    return [f"{directory}/{name}" for (directory, name), count in seen.items() if count > 1]


def moments(seed: int, *, mean_s: float) -> Iterator[float]:
    """Random pauses between kills."""
    chance = random.Random(seed)
    while True:
        yield chance.expovariate(1 / mean_s)


def environment_number(name: str, default: int) -> int:
    """A number that a slow proof is given from outside."""
    return int(os.environ.get(name, default))
