"""`selfie run --engine-address` takes a whole run through a server that somebody else has started."""

from pathlib import Path

import pytest

from external_runs import run, write_run
from http_servers import serving_beside
from openai_servers import TransformersStandIn
from selfie.artifacts.manifests import read_manifest
from selfie.artifacts.shards import read_group
from selfie.artifacts.store import open_store
from sglang_server import SglangStandIn
from toy_models import ToyModel


@pytest.fixture
def run_file(tmp_path: Path, tiny_checkpoint: Path) -> Path:
    return write_run(tmp_path, tiny_checkpoint)


@pytest.mark.timeout(420)
@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "options", "ids_from"),
    [
        pytest.param(TransformersStandIn, ("--engine-model", "{weights}"), "retokenized", id="asked by name"),
        pytest.param(SglangStandIn, (), "engine", id="moved in place"),
    ],
)
def test_a_whole_run_samples_from_another_engine(
    run_file, tmp_path, tiny_checkpoint, kind, options, ids_from
):
    artifacts = tmp_path / "runs"
    # What it draws depends on where the weights lie; a turn that ends at once is no response to learn from.
    standin = kind(ToyModel(tiny_checkpoint, end_chance=0.02), "/weights/start")
    with serving_beside(standin.application) as server:
        done = run(run_file, artifacts, "--engine-address", server.url, *options)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"

    store = open_store((artifacts / "whole").as_uri())
    policies = [read_manifest(store, f"rounds/{number:02d}/publish").weights_digest for number in (0, 1)]
    manifest = read_manifest(store, "rounds/01/generate")
    rows = read_group(store, manifest, "samples").to_pylist()
    assert len(rows) == 6
    assert {row["ids_from"] for row in rows} == {ids_from}
    assert {row["policy_digest"] for row in rows} == {policies[0]}
    assert read_manifest(store, "rounds/01/serve").weights_digest == policies[1]
