"""Manifests: published once, read back exactly, and every file of them verified."""

import json
import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import ValidationError

from selfie.artifacts.manifests import (
    FileEntry,
    Manifest,
    ManifestRef,
    manifest_path,
    publish,
    read_manifest,
    read_ref,
    verify,
)
from selfie.artifacts.store import Store
from selfie.errors import DataCorrupted, FailedPrecondition, InvalidInput, NotFound

MakeManifest = Callable[..., Manifest]
AddFile = Callable[..., FileEntry]


def test_a_published_manifest_is_read_back_exactly(
    store: Store, make_manifest: MakeManifest, add_file: AddFile
) -> None:
    manifest = make_manifest(
        files=(add_file("rounds/01/generate/a1/samples-00000-w1.parquet", b"rows", group="samples"),),
        inputs={"policy": "ab" * 32},
        parameters={"temperature": 0.7, "stop": ["x"], "seed": 2**63, "nested": {"λ": None}},
        counts={"rows": 4},
        measures={"meanLength": 51.25},
    )
    assert read_manifest(store, manifest.step) is None
    ref = publish(store, manifest)
    assert read_manifest(store, manifest.step) == manifest
    assert read_ref(store, ref) == manifest


def test_a_manifest_is_json_with_sorted_camel_case_keys_and_equal_ones_are_equal_bytes(
    make_manifest: MakeManifest,
) -> None:
    first = make_manifest(counts={"b": 1, "a": 2}, template_digest="0" * 64)
    second = make_manifest(counts={"a": 2, "b": 1}, template_digest="0" * 64)
    assert first.to_json() == second.to_json()
    keys = list(json.loads(first.to_json()))
    assert keys == sorted(keys)
    assert {"runUid", "templateDigest", "startedAt", "schemaVersion"} <= set(keys)


def test_measures_without_a_number_survive(store: Store, make_manifest: MakeManifest) -> None:
    publish(store, make_manifest(measures={"kl": math.inf, "ece": math.nan}))
    text = store.read("rounds/01/generate/manifest.json").decode()
    json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    found = read_manifest(store, "rounds/01/generate")
    assert found is not None
    assert found.measures["kl"] == math.inf
    assert math.isnan(found.measures["ece"])


def test_of_racing_publishers_all_get_the_reference_to_the_one_that_won(
    store: Store, make_manifest: MakeManifest
) -> None:
    manifests = [make_manifest(attempt=number, writer=f"w{number}") for number in range(1, 9)]
    together = threading.Barrier(len(manifests))

    def publish_together(manifest: Manifest) -> ManifestRef:
        together.wait()
        return publish(store, manifest)

    with ThreadPoolExecutor(len(manifests)) as threads:
        refs = set(threads.map(publish_together, manifests))
    assert len(refs) == 1
    assert read_ref(store, refs.pop()) in manifests


def test_a_manifest_that_was_replaced_is_not_the_one_referred_to(
    store: Store, make_manifest: MakeManifest
) -> None:
    ref = publish(store, make_manifest())
    store.write(ref.path, make_manifest(writer="forger").to_json())
    with pytest.raises(DataCorrupted, match=r"rounds/01/generate/manifest\.json"):
        read_ref(store, ref)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"schemaVersion": 1}', b"\xff"])
def test_what_is_no_manifest_is_corrupted(store: Store, data: bytes) -> None:
    store.write("prepare/manifest.json", data)
    with pytest.raises(DataCorrupted, match=r"prepare/manifest\.json"):
        read_manifest(store, "prepare")


def test_a_manifest_that_leads_out_of_the_store_is_corrupted(
    store: Store, make_manifest: MakeManifest
) -> None:
    entry = FileEntry(group="g", name="n", path="inside", sha256="0" * 64, bytes=0)
    data = make_manifest(files=(entry,)).to_json().replace(b"inside", b"../../outside")
    store.write("rounds/01/generate/manifest.json", data)
    with pytest.raises(DataCorrupted, match="outside"):
        read_manifest(store, "rounds/01/generate")


def test_a_manifest_of_a_later_release_asks_for_that_release(
    store: Store, make_manifest: MakeManifest
) -> None:
    store.write("rounds/01/generate/manifest.json", make_manifest(schema_version=2).to_json())
    with pytest.raises(FailedPrecondition, match="newer release") as refused:
        read_manifest(store, "rounds/01/generate")
    assert refused.value.reason == "ManifestVersionUnsupported"


def test_an_intact_manifest_verifies_and_each_kind_of_damage_is_named(
    store: Store, make_manifest: MakeManifest, add_file: AddFile
) -> None:
    entries = tuple(add_file(f"rounds/01/generate/a1/{name}", b"0123456789") for name in ("a", "b", "c"))
    manifest = make_manifest(files=entries)
    verify(store, manifest)
    for damage, words in ((b"012345678X", "SHA-256"), (b"01234", "5 bytes")):
        store.write(entries[1].path, damage)
        with pytest.raises(DataCorrupted, match=f"generate/a1/b has .*{words}"):
            verify(store, manifest)
    store.delete(entries[1].path)
    with pytest.raises(DataCorrupted, match="generate/a1/b is named by a manifest but missing"):
        verify(store, manifest)


def test_a_group_that_a_manifest_lacks_is_not_found_and_those_it_has_are_named(
    make_manifest: MakeManifest, add_file: AddFile
) -> None:
    entry = add_file("x", b"", group="samples")
    assert make_manifest(files=(entry,)).group("samples") == (entry,)
    with pytest.raises(NotFound, match="'pairs'; its groups: samples"):
        make_manifest(files=(entry,)).group("pairs")


def test_a_step_and_a_path_outside_the_run_are_refused(make_manifest: MakeManifest) -> None:
    with pytest.raises(InvalidInput):
        manifest_path("../other")
    with pytest.raises(InvalidInput):
        make_manifest(step="/absolute")
    with pytest.raises(InvalidInput):
        FileEntry(group="g", name="../n", path="p", sha256="0" * 64, bytes=0)


def test_a_time_without_a_zone_and_a_digest_that_is_none_are_refused(
    make_manifest: MakeManifest, tmp_path: Path
) -> None:
    with pytest.raises(ValidationError):
        make_manifest(started_at="2026-03-01T12:00:00")
    with pytest.raises(ValidationError):
        make_manifest(weights_digest="abc")
