"""Takes over steps of another run: verifies their files, brings them here, publishes them as this run's.

What was made stays what it was: a manifest keeps its files, figures and times, and says whose it
was. Only its run and the digests of manifests that it names become this run's.
"""

import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from selfie.adopt.donor import Donor, read_donor
from selfie.adopt.parameters import AdoptParameters
from selfie.artifacts.manifests import Adopted, FileEntry, Manifest, check_digest, publish
from selfie.artifacts.programs import new_writer, parse
from selfie.artifacts.progress import ProgressWriter
from selfie.artifacts.retirements import record_retirement
from selfie.artifacts.store import Store, open_store
from selfie.errors import DataCorrupted, NotFound
from selfie.runs.adoption import Adoption, adoption
from selfie.runs.steps import PREPARE

logger = logging.getLogger(__name__)

T = TypeVar("T")


def adopt(store: Store, raw: dict[str, Any]) -> Manifest:
    """Takes over what `AdoptParameters` in ``raw`` names; `run_program` publishes the manifest.

    A step with a missing or altered file is not taken over, nor is what was made from it: that is
    done again. What retention has let go is not missed unless a step that is left wants to read it.
    `InvalidInput` for a place without a run.
    """
    parameters = parse(AdoptParameters, raw)
    with ProgressWriter(store, parameters.attempt.path) as progress:
        progress.update(0, 0, "reading the other run")
        donor = read_donor(open_store(str(parameters.run.spec.resume_from)))
        return _Adoption(store, parameters, donor, progress).run()


@dataclass
class _Adoption:
    """One start of the program."""

    store: Store
    parameters: AdoptParameters
    donor: Donor
    progress: ProgressWriter
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    _here: dict[str, str] = field(default_factory=dict)
    _bytes: int = 0

    def run(self) -> Manifest:
        spec = self.parameters.run.spec
        sound = set(self.donor.published)
        while True:
            found = adoption(spec, self.donor.run.spec, self.donor.summaries, sound=sound)
            lost = self._wanted_and_gone(found) or self._take(found)
            if lost is None:
                return self._manifest(found)
            sound.discard(lost)

    def _wanted_and_gone(self, found: Adoption) -> str | None:
        """A step that could be taken over but for a group that retention let go, and that is still read."""
        taken = {step.path for step in found.steps}
        for source in sorted(found.read, key=lambda entry: entry.step):
            retired = self.donor.retired.get(source.step)
            if source.step in taken and retired is not None and retired.group == source.group:
                logger.warning("%s is not taken over: its %s was let go", source.step, source.group)
                return source.step
        return None

    def _take(self, found: Adoption) -> str | None:
        """Takes the steps over in their order; returns the first that is damaged, if one is."""
        for done, step in enumerate(found.steps):
            self.progress.update(done, len(found.steps), f"taking over {step.path}")
            manifest, ref = self.donor.published[step.path]
            if step == PREPARE:
                kept = tuple(entry for entry in manifest.files if entry.group not in found.left_out)
                manifest = manifest.model_copy(update={"files": kept})
            try:
                for entry in manifest.files:
                    if entry.path not in self.donor.retired_files:
                        self._bring(entry)
            except (DataCorrupted, NotFound) as error:
                logger.warning("%s is not taken over: %s", step.path, error)
                return step.path
            if (retired := self.donor.retired.get(step.path)) is not None:
                record_retirement(self.store, retired)
            adopted = Adopted(run_uri=self.donor.store.uri, sha256=ref.sha256)
            self._here[ref.sha256] = publish(self.store, self._as_own(manifest, adopted)).sha256
        return None

    def _bring(self, entry: FileEntry) -> None:
        """Puts the file where it lay, unless it is here already."""
        if self.store.exists(entry.path) and self.store.digest(entry.path).sha256 == entry.sha256:
            return
        directory = self.parameters.cache_dir / "adopting"
        directory.mkdir(parents=True, exist_ok=True)
        file = directory / uuid.uuid4().hex
        try:
            check_digest(self.donor.store, entry, self.donor.store.download(entry.path, file))
            self.store.upload(file, entry.path)
        finally:
            file.unlink(missing_ok=True)
        self._bytes += entry.bytes

    def _as_own(self, manifest: Manifest, adopted: Adopted) -> Manifest:
        return manifest.model_copy(
            update={
                "run_uid": self.parameters.attempt.run_uid,
                "inputs": _renamed(manifest.inputs, self._here),
                "parameters": _renamed(manifest.parameters, self._here),
                # The first of all is named, however many hands it went through.
                "adopted": manifest.adopted or adopted,
            }
        )

    def _manifest(self, found: Adoption) -> Manifest:
        return self.parameters.attempt.manifest(
            writer=new_writer(),
            started_at=self.started_at,
            inputs={step.path: self.donor.published[step.path][1].sha256 for step in found.steps},
            parameters={"resumeFrom": self.donor.store.uri},
            counts={"steps": len(found.steps), "left": len(found.left), "bytes": self._bytes},
        )


def _renamed(value: T, names: Mapping[str, str]) -> T:
    """The value with every string in it that is an old name replaced by the new one."""
    renamed: Any = value
    if isinstance(value, str):
        renamed = names.get(value, value)
    elif isinstance(value, Mapping):
        renamed = {key: _renamed(entry, names) for key, entry in value.items()}
    elif isinstance(value, list | tuple):
        renamed = type(value)(_renamed(entry, names) for entry in value)
    found: T = renamed
    return found
