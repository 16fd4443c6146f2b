import shutil
from pathlib import Path

import pytest

from selfie.errors import InvalidInput, NotFound, Unavailable
from selfie.models import hub
from selfie.models.cache import default_cache, finish, unfinished
from selfie.models.resolve import resolve_model


def test_a_path_and_a_file_uri_name_the_same_directory(tiny_checkpoint: Path, tmp_path: Path):
    by_path = resolve_model(str(tiny_checkpoint), cache_root=tmp_path)
    by_uri = resolve_model(tiny_checkpoint.as_uri(), cache_root=tmp_path)
    assert by_path.directory == by_uri.directory == tiny_checkpoint
    assert not by_path.owned


def test_a_hub_model_is_pinned_to_the_commit_of_its_snapshot(tiny_checkpoint: Path, tmp_path: Path):
    asked = []

    def download(repository: str, revision: str | None, cache_root: Path) -> Path:
        asked.append((repository, revision))
        directory = cache_root / "hub" / "snapshots" / "0123abc"
        shutil.copytree(tiny_checkpoint, directory)
        return directory

    found = resolve_model("hf://org/name", revision="main", cache_root=tmp_path, download=download)
    assert asked == [("org/name", "main")]
    assert found.revision == "0123abc"
    assert found.owned


@pytest.mark.parametrize("uri", ["hf://name", "hf://org/name/file", "hf://org/name@main", "hf://org/../x"])
def test_a_hub_uri_names_organisation_and_model(uri: str, tmp_path: Path):
    with pytest.raises(InvalidInput, match="does not name a repository"):
        resolve_model(uri, cache_root=tmp_path)


def test_the_hub_out_of_reach_is_unavailable(tmp_path: Path):
    # The test process is offline by HF_HUB_OFFLINE, and the cache is empty.
    with pytest.raises(Unavailable, match=r"hf://org/name at main cannot be fetched"):
        hub.model_snapshot("org/name", None, tmp_path)
    with pytest.raises(Unavailable, match=r"hf://datasets/org/name@v1/data\.jsonl cannot be fetched"):
        hub.dataset_file("org/name", "data.jsonl", "v1", tmp_path)


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("builtin://gpt-5", "there is no built-in model 'gpt-5'; use builtin://smollm2-135m-instruct"),
        ("ftp://host/model", "is not the place of a model"),
        ("/nowhere/at/all", "/nowhere/at/all is not a directory"),
    ],
)
def test_an_unknown_place_is_refused_with_the_field(uri: str, problem: str, tmp_path: Path):
    with pytest.raises(InvalidInput, match=f"model.uri: .*{problem}"):
        resolve_model(uri, cache_root=tmp_path)


def test_what_is_not_finished_leaves_nothing(tmp_path: Path):
    with pytest.raises(NotFound), unfinished(tmp_path) as partial:
        (partial / "half").write_text("half")
        raise NotFound("gone")
    assert list(tmp_path.iterdir()) == []


def test_the_first_to_finish_names_the_directory(tmp_path: Path):
    target = tmp_path / "model"
    for text in ("first", "second"):
        with unfinished(tmp_path) as partial:
            (partial / "config.json").write_text(text)
            finish(partial, target)
    assert (target / "config.json").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert target.stat().st_mode & 0o055 == 0o055


def test_a_target_that_is_no_directory_is_not_overlooked(tmp_path: Path):
    (tmp_path / "model").write_text("in the way")
    with unfinished(tmp_path) as partial, pytest.raises(OSError, match="model"):
        finish(partial, tmp_path / "model")


def test_the_cache_is_in_the_home_directory_unless_said_otherwise(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SELFIE_CACHE", raising=False)
    assert default_cache() == Path.home() / ".cache" / "selfie"
    monkeypatch.setenv("SELFIE_CACHE", "/srv/cache")
    assert default_cache() == Path("/srv/cache")
