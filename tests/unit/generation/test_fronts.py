"""One service may front engines of several kinds: whose work it is decides which."""

from pathlib import Path

import pytest

from selfie.errors import FailedPrecondition, InvalidInput
from selfie.generation.connecting import fronts_of
from selfie.generation.settings import GenerationSettings


def settings(tmp_path: Path, **others: str) -> GenerationSettings:
    return GenerationSettings(artifact_roots=(tmp_path.as_uri(),), **others)


async def test_where_each_run_has_its_own_engine_its_kind_decides(tmp_path: Path):
    found = fronts_of(
        settings(tmp_path, engine_address="dns:///e-{run}:1", run_server_address="http://e-{run}:8080"), None
    )
    assert set(found.by_kind) == {"embedded", "tgi", "openai"}
    assert found.of("tgi") is not found.of("embedded")
    with pytest.raises(FailedPrecondition, match="no kind was asked for") as caught:
        found.of()
    assert caught.value.reason == "EngineNotFronted"
    await found.close()


async def test_a_service_for_one_kind_takes_work_of_no_other(tmp_path: Path):
    found = fronts_of(settings(tmp_path, engine="tgi", engine_address="http://127.0.0.1:1"), None)
    assert found.of() is found.of("tgi")
    with pytest.raises(FailedPrecondition, match="of the kind tgi, and embedded was asked for"):
        found.of("embedded")
    await found.close()


async def test_an_address_that_is_no_runs_own_is_refused(tmp_path: Path):
    with pytest.raises(InvalidInput, match="the same for every run"):
        fronts_of(settings(tmp_path, engine_address="dns:///e:1", run_server_address="http://e:1"), None)
