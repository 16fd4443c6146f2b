"""A run that was made by hand: real manifests and small files in a store, without any service."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from selfie.artifacts.manifests import FileEntry, Manifest, ManifestRef, publish, read_published
from selfie.artifacts.store import Store, open_store
from selfie.artifacts.weights import weights_digest
from selfie.runs.steps import step_at

RUN = """
apiVersion: selfie.dev/v1alpha1
kind: SelfieRun
metadata: {{name: made}}
spec:
  model: {{uri: builtin://toy}}
  seed: {{dataset: file:///data/seed.jsonl, heldout: file:///data/heldout.jsonl}}
  rounds:
{rounds}
  retention: {{checkpoints: {checkpoints}}}
"""


class MadeRun:
    """``accuracies``: one for each round from the seed on; the measures are what they say."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def file(self, path: str, data: bytes, *, group: str, rows: int | None = None) -> FileEntry:
        self.store.write(path, data)
        digest = self.store.digest(path)
        name = path.rpartition("/")[2]
        return FileEntry(
            group=group, name=name, path=path, sha256=digest.sha256, bytes=digest.bytes, rows=rows
        )

    def publish(self, step: str, *files: FileEntry, attempt: int = 1, **fields: Any) -> ManifestRef:
        known = step_at(step)
        assert known is not None
        manifest = Manifest(
            run_uid="uid",
            round=known.round,
            step=step,
            attempt=attempt,
            writer="w",
            files=files,
            started_at=self.now,
            finished_at=self.now,
            **fields,
        )
        return publish(self.store, manifest)

    def digest(self, step: str, group: str = "checkpoint") -> str:
        return weights_digest(self.manifest(step)[0].group(group))

    def manifest(self, step: str) -> tuple[Manifest, ManifestRef]:
        found = read_published(self.store, step)
        assert found is not None
        return found

    def prepare(self, rounds: int) -> None:
        model = (
            self.file("prepare/a1/model-w/model.safetensors", b"initial" * 100, group="model"),
            self.file("prepare/a1/model-w/config.json", b"{}", group="model"),
        )
        data = [
            self.file(f"prepare/a1/{name}.parquet", name.encode(), group=name, rows=8)
            for name in ("seed", "heldout", *(f"prompts-round-{n:02d}" for n in range(1, rounds + 1)))
        ]
        self.publish("prepare", *model, *data, weights_digest=weights_digest(model))

    def train(self, number: int, *, attempt: int = 1) -> None:
        step = "rounds/00/seed" if number == 0 else f"rounds/{number:02d}/train"
        pairs = self.manifest("prepare" if number == 0 else f"rounds/{number:02d}/filter")[1].sha256
        policy = self.digest("prepare", "model") if number == 0 else self._policy(number - 1)
        path = f"{step}/a{attempt}/checkpoint-w"
        weights = (
            self.file(f"{path}/model.safetensors", f"policy {number} ".encode() * 100, group="checkpoint"),
            self.file(f"{path}/config.json", b'{"trained": true}', group="checkpoint"),
        )
        steps = self.file(f"{step}/a{attempt}/steps-00000-w.parquet", b"steps", group="steps", rows=4)
        inputs = {"policy": policy, "reference": policy, "pairs": pairs}
        digest = weights_digest(weights)
        self.publish(step, *weights, steps, attempt=attempt, inputs=inputs, weights_digest=digest)

    def publish_policy(self, number: int) -> None:
        trained = "rounds/00/seed" if number == 0 else f"rounds/{number:02d}/train"
        weights = self.manifest(trained)[0].group("checkpoint")[0]
        path = f"rounds/{number:02d}/publish/a1/checkpoint-w"
        files = (
            weights,
            self.file(f"{path}/config.json", f'{{"round": {number}}}'.encode(), group="checkpoint"),
            self.file(f"{path}/README.md", f"# Round {number}\n".encode(), group="checkpoint"),
        )
        self.publish(
            f"rounds/{number:02d}/publish",
            *files,
            inputs={"checkpoint": self.digest(trained)},
            weights_digest=weights_digest(files),
        )

    def measure(self, number: int, accuracy: float) -> None:
        path, policy = f"rounds/{number:02d}", self._policy(number)
        self.publish(f"{path}/serve", inputs={"policy": policy}, weights_digest=policy)
        pairs = self.file(f"{path}/evaluate-heldout/a1/pairs-00000-w.parquet", b"h", group="pairs", rows=8)
        reference = self.digest("prepare", "model")
        prepared = self.manifest("prepare")[1].sha256
        self.publish(
            f"{path}/evaluate-heldout",
            pairs,
            inputs={"input": prepared, "policy": policy, "reference": reference},
            measures={"accuracy": accuracy, "n": 8.0},
        )

    def make_pairs(self, number: int) -> None:
        path, policy = f"rounds/{number:02d}", self._policy(number - 1)
        read = {"prompts": self.manifest("prepare")[1].sha256}
        for name, group in (("generate", "samples"), ("score", "pairs"), ("filter", "pairs")):
            data = f"{name} {number}".encode()
            file = self.file(f"{path}/{name}/a1/{group}-00000-w.parquet", data, group=group, rows=8)
            ref = self.publish(f"{path}/{name}", file, inputs={**read, "policy": policy})
            read = {"input": ref.sha256}

    def whole(self, *accuracies: float) -> "MadeRun":
        """Everything from `prepare` on, up to the last round that an accuracy is given for."""
        self.prepare(rounds=max(len(accuracies) - 1, 1))
        for number, accuracy in enumerate(accuracies):
            if number:
                self.make_pairs(number)
            self.train(number)
            self.publish_policy(number)
            self.measure(number, accuracy)
        return self

    def write_run(self, *, rounds: int, checkpoints: int = 1) -> None:
        lines = ["  - prompts: {dataset: file:///data/prompts.jsonl}"] * rounds
        text = RUN.format(rounds="\n".join(lines), checkpoints=checkpoints)
        self.store.write("run.yaml", text.encode())

    def _policy(self, number: int) -> str:
        return self.digest(f"rounds/{number:02d}/publish")


@pytest.fixture
def made(tmp_path: Path) -> MadeRun:
    """An empty run ``made``, to be filled."""
    return MadeRun(open_store((tmp_path / "runs" / "made").as_uri()))
