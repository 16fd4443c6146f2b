"""Manifests: the only way in which a step's files become known.

A step writes to a place of its own attempt and publishes by one manifest, created exclusively:
of two attempts one wins, and the other finds the winner's. Nothing is read that no manifest
names, and everything that one names can be verified by digest.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    ValidationError,
)
from pydantic.alias_generators import to_camel

from selfie.artifacts.digests import FileDigest, digest_bytes
from selfie.artifacts.paths import check_path
from selfie.artifacts.store import Store
from selfie.errors import AlreadyExists, DataCorrupted, FailedPrecondition, InvalidInput, NotFound

SCHEMA_VERSION = 1

RelativePath = Annotated[str, AfterValidator(check_path)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Record(BaseModel):
    """A frozen record, kept as JSON with camelCase names."""

    # JSON has no number for "infinite" and "not a number": they are kept as words.
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        ser_json_inf_nan="strings",
    )

    def to_json(self) -> bytes:
        """The record as JSON with sorted keys: equal records give equal bytes."""
        data = json.loads(self.model_dump_json(by_alias=True))
        return (
            json.dumps(data, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        ).encode()


class FileEntry(Record):
    """One file that a step has made.

    ``group`` is the set that it belongs to (``samples``, ``checkpoint``), ``name`` its name within
    the group, ``path`` where it lies under the run's root; ``rows`` is None for what has no rows.
    """

    group: str
    name: RelativePath
    path: RelativePath
    sha256: Digest
    bytes: Annotated[int, Field(ge=0)]
    rows: Annotated[int, Field(ge=0)] | None = None


class Adopted(Record):
    """Where a manifest was taken over from: the root of the other run, and the SHA-256 of its manifest."""

    run_uri: str
    sha256: Digest


class Manifest(Record):
    """What a step has made, from what, and how.

    ``inputs`` are digests by name (``policy``, ``reference``, ``prompts``, ``template``,
    ``tokenizer``); ``parameters`` those of the method that were used; ``counts`` and ``measures``
    what came out. Times are those of the attempt that published; ``adopted`` names the other run whose
    attempt that was, if it was another.
    """

    schema_version: int = SCHEMA_VERSION
    run_uid: str
    round: Annotated[int, Field(ge=0)]
    step: RelativePath
    attempt: Annotated[int, Field(ge=1)]
    writer: str
    files: tuple[FileEntry, ...] = ()
    inputs: dict[str, str] = {}
    parameters: dict[str, JsonValue] = {}
    counts: dict[str, int] = {}
    measures: dict[str, float] = {}
    weights_digest: Digest | None = None
    template_digest: Digest | None = None
    started_at: AwareDatetime
    finished_at: AwareDatetime
    adopted: Adopted | None = None

    def group(self, name: str) -> tuple[FileEntry, ...]:
        """The group's files in the order in which they were given; `NotFound` if there are none."""
        found = tuple(entry for entry in self.files if entry.group == name)
        if not found:
            known = ", ".join(sorted({entry.group for entry in self.files})) or "none"
            raise NotFound(
                f"{manifest_path(self.step)} has no files of the group {name!r}; its groups: {known}"
            )
        return found


@dataclass(frozen=True, slots=True)
class ManifestRef:
    """A manifest's path under the run's root, and the SHA-256 of its bytes."""

    path: str
    sha256: str

    @classmethod
    def of(cls, path: str, data: bytes) -> "ManifestRef":
        """The reference to a manifest whose bytes are at hand."""
        return cls(path, digest_bytes(data).sha256)


def manifest_path(step: str) -> str:
    """Where the step's manifest lies under the run's root."""
    return check_path(f"{step}/manifest.json", field="step")


def publish(store: Store, manifest: Manifest) -> ManifestRef:
    """Publishes a step's result, unless one is already there: then that one's reference is returned."""
    path, data = manifest_path(manifest.step), manifest.to_json()
    try:
        store.create(path, data)
    except AlreadyExists:
        data = store.read(path)
    return ManifestRef.of(path, data)


def read_manifest(store: Store, step: str) -> Manifest | None:
    """The step's manifest; None while it has not been published."""
    found = read_published(store, step)
    return found[0] if found else None


def read_published(store: Store, step: str) -> tuple[Manifest, ManifestRef] | None:
    """The step's manifest and the reference to it, read once; None while it has not been published."""
    path = manifest_path(step)
    try:
        data = store.read(path)
    except NotFound:
        return None
    return _parse(data, f"{store.uri}/{path}"), ManifestRef.of(path, data)


def read_ref(store: Store, ref: ManifestRef) -> Manifest:
    """The very manifest that was referred to: `DataCorrupted` if its bytes are others now."""
    data = store.read(ref.path)
    found = digest_bytes(data).sha256
    if found != ref.sha256:
        raise DataCorrupted(
            f"{store.uri}/{ref.path} has the SHA-256 {found}, but {ref.sha256} was referred to"
        )
    return _parse(data, f"{store.uri}/{ref.path}")


def verify(store: Store, manifest: Manifest) -> None:
    """Reads every file of the manifest: `DataCorrupted` names the first that is missing or altered.

    `FailedPrecondition` where it was retention that has removed it.
    """
    from selfie.artifacts.retirements import missing_file  # its records are made of this module's

    for entry in manifest.files:
        try:
            found = store.digest(entry.path)
        except NotFound as error:
            raise missing_file(store, entry) from error
        check_digest(store, entry, found)


def check_digest(store: Store, entry: FileEntry, found: FileDigest) -> None:
    """Raises `DataCorrupted`, which names the file, unless it is as the manifest has it."""
    if found.bytes != entry.bytes:
        raise DataCorrupted(
            f"{store.uri}/{entry.path} has {found.bytes} bytes, its manifest says {entry.bytes}"
        )
    if found.sha256 != entry.sha256:
        raise DataCorrupted(
            f"{store.uri}/{entry.path} has the SHA-256 {found.sha256}, its manifest says {entry.sha256}"
        )


def _parse(data: bytes, place: str) -> Manifest:
    try:
        fields: Any = json.loads(data)
        version = fields.get("schemaVersion") if isinstance(fields, Mapping) else None
        if isinstance(version, int) and version > SCHEMA_VERSION:
            raise FailedPrecondition(
                "ManifestVersionUnsupported",
                f"{place} has schema version {version}, which needs a newer release of Selfie",
            )
        return Manifest.model_validate(fields)
    except (ValueError, ValidationError, InvalidInput) as error:
        raise DataCorrupted(f"{place} is not a manifest: {error}") from error
