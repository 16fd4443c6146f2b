"""From the files of a training to a checkpoint that engines can read."""

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from selfie.artifacts.digests import digest_bytes
from selfie.artifacts.manifests import FileEntry, Manifest, check_digest, read_manifest
from selfie.artifacts.programs import new_writer, parse
from selfie.artifacts.progress import ProgressWriter
from selfie.artifacts.retirements import missing_file
from selfie.artifacts.store import Store
from selfie.artifacts.weights import weights_digest
from selfie.errors import FailedPrecondition, NotFound
from selfie.models.chat import ChatTokenizer
from selfie.models.checkpoints import read_json
from selfie.publish.card import Origin, model_card
from selfie.publish.formats import published_config, published_generation_config, published_tokenizer_config
from selfie.publish.parameters import PublishParameters

GROUP = "checkpoint"
_LARGE = ".safetensors"


def publish_checkpoint(store: Store, raw: dict[str, Any]) -> Manifest:
    """Writes the checkpoint of ``raw`` (`PublishParameters`) as engines read it; weights are not copied.

    The manifest's group ``checkpoint`` names the weights where they lie and the rewritten files in
    this attempt. Raises `NotFound` and `FailedPrecondition` ``WeightsDiffer`` when the source is not
    there or is another one, `DataCorrupted` when its files are not as its manifest has them.
    """
    parameters = parse(PublishParameters, raw)
    with ProgressWriter(store, parameters.attempt.path) as progress:
        return _Publication(store, parameters, progress).run()


@dataclass
class _Publication:
    """One start of the program."""

    store: Store
    parameters: PublishParameters
    progress: ProgressWriter

    def run(self) -> Manifest:
        started_at, writer = datetime.now(UTC), new_writer()
        source = self._source()
        entries = source.group(self.parameters.source.group)
        self.progress.update(0, len(entries), "reading the checkpoint")
        with tempfile.TemporaryDirectory() as directory:
            self._fetch_small(entries, Path(directory))
            tokenizer = ChatTokenizer(Path(directory))
            written = self._written(Path(directory), source, tokenizer)
        kept = [entry.model_copy(update={"group": GROUP}) for entry in entries if entry.name not in written]
        path = f"{self.parameters.attempt.path}/{GROUP}-{writer}"
        files = (*kept, *(self._store(name, data, path) for name, data in sorted(written.items())))
        self.progress.update(len(files), len(files), "published")
        return self.parameters.attempt.manifest(
            writer=writer,
            started_at=started_at,
            files=files,
            inputs={
                "checkpoint": self.parameters.source.digest,
                "template": tokenizer.template_digest,
                "tokenizer": tokenizer.tokenizer_digest,
            },
            parameters=self.parameters.model_dump(
                mode="json", by_alias=True, exclude={"attempt", "cache_dir"}
            ),
            counts={"files": len(files), "bytes": sum(entry.bytes for entry in files)},
            weights_digest=weights_digest(files),
            template_digest=tokenizer.template_digest,
        )

    def _source(self) -> Manifest:
        wanted = self.parameters.source
        manifest = read_manifest(self.store, wanted.step)
        if manifest is None:
            raise NotFound(f"{self.store.uri}: step {wanted.step} has published no weights")
        found = weights_digest(manifest.group(wanted.group))
        if found != wanted.digest:
            message = f"{wanted.step} has the weights {found}, and {wanted.digest} were asked for"
            raise FailedPrecondition("WeightsDiffer", f"{self.store.uri}: {message}")
        return manifest

    def _fetch_small(self, entries: tuple[FileEntry, ...], directory: Path) -> None:
        for entry in entries:
            if entry.name.endswith(_LARGE):
                # Whoever pulls the checkpoint verifies its digest; here it only has to be there.
                if not self.store.exists(entry.path):
                    raise missing_file(self.store, entry)
                continue
            target = directory / entry.name
            target.parent.mkdir(parents=True, exist_ok=True)
            check_digest(self.store, entry, self.store.download(entry.path, target))

    def _written(self, directory: Path, source: Manifest, tokenizer: ChatTokenizer) -> dict[str, bytes]:
        end_ids = (tokenizer.end_of_turn_id, *sorted(tokenizer.end_of_turn_ids - {tokenizer.end_of_turn_id}))
        generation = _optional_json(directory / "generation_config.json")
        tokens = _optional_json(directory / "tokenizer_config.json")
        card = model_card(source, self.parameters.source.digest, self._origin(tokenizer))
        return {
            "README.md": card.encode(),
            "config.json": _json(published_config(read_json(directory / "config.json"))),
            "generation_config.json": _json(
                published_generation_config(generation, end_ids, tokenizer.pad_id)
            ),
            "tokenizer_config.json": _json(published_tokenizer_config(tokens, tokenizer.template)),
        }

    def _origin(self, tokenizer: ChatTokenizer) -> Origin:
        prepared = read_manifest(self.store, "prepare")
        model = prepared.parameters.get("model") if prepared else None
        return Origin(
            run_name=self.parameters.run_name,
            round=self.parameters.round,
            base_model=self.parameters.base_model,
            revision=str(model["revision"]) if isinstance(model, dict) and model.get("revision") else None,
            template_digest=tokenizer.template_digest,
            tokenizer_digest=tokenizer.tokenizer_digest,
        )

    def _store(self, name: str, data: bytes, path: str) -> FileEntry:
        self.store.write(f"{path}/{name}", data)
        digest = digest_bytes(data)
        return FileEntry(
            group=GROUP, name=name, path=f"{path}/{name}", sha256=digest.sha256, bytes=digest.bytes
        )


def _optional_json(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
