"""What images are made of."""

import re
from pathlib import Path

import pytest
import yaml

from pinned import pins

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
IMAGES = ("operator", "service", "gpu")


@pytest.mark.parametrize("name", [*IMAGES, "build"])
def test_an_image_holds_the_versions_that_are_tested(name: str):
    tested, installed = pins("dev"), pins(name)
    assert installed
    assert {package: tested.get(package) for package in installed} == installed


@pytest.mark.parametrize("name", [*IMAGES, "build", "sbom"])
def test_whatever_is_installed_is_known_by_its_digest(name: str):
    text = (ROOT / f"requirements/{name}.txt").read_text()
    assert text.count("==") == len(re.findall(r"==\S+ \\\n {4}--hash=sha256:[0-9a-f]{64}", text))


def test_the_operator_carries_no_model_and_no_arrays():
    assert not {"torch", "transformers", "numpy", "pyarrow", "typer"} & pins("operator").keys()


def test_each_image_of_the_chart_is_a_target_of_the_dockerfile():
    targets = set(re.findall(r"^FROM runtime AS (\S+)$", DOCKERFILE, re.MULTILINE))
    images = yaml.safe_load((ROOT / "charts/selfie/values.yaml").read_text())["images"]
    assert targets == set(IMAGES)
    assert {name: images[name]["repository"] for name in IMAGES} == {
        name: f"selfie-{name}" for name in IMAGES
    }


def test_no_image_runs_as_root_or_needs_a_shell():
    assert "\nUSER 10001:10001\n" in DOCKERFILE
    commands = re.findall(r"^(?:RUN|CMD|ENTRYPOINT) (.)", DOCKERFILE, re.MULTILINE)
    assert set(commands) == {"["}
