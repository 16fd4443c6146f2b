"""Where the test cluster takes its executables from."""

import os
from pathlib import Path

import pytest

from cluster import binaries, pins
from selfie.errors import FailedPrecondition

ETCD = pins.CONTROL_PLANE[0]


def _executable(directory: Path, name: str, says: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / name
    file.write_text(f"#!/bin/sh\necho '{says}'\n")
    file.chmod(0o755)
    return file


def test_every_tool_has_a_version_that_its_go_mod_pins() -> None:
    for tool in (*pins.NODE, pins.PAUSE, *pins.EXTRAS.values()):
        assert tool.module.version.startswith("v"), tool.name
        assert (tool.module.directory / "go.sum").exists(), tool.name


def test_replaced_kubernetes_modules_are_of_the_release_that_is_pinned() -> None:
    module = pins.KUBECTL.module
    replaced = [line for line in (module.directory / "go.mod").read_text().splitlines() if " => " in line]
    assert replaced
    assert {line.split()[-1] for line in replaced} == {module.version.replace("v1.", "v0.")}


def test_an_executable_of_the_same_minor_version_stands_in(tmp_path: Path) -> None:
    own = _executable(tmp_path / "assets", "etcd", "etcd Version: 3.6.1")
    environment = {binaries.ASSETS_VARIABLE: str(tmp_path / "assets")}
    assert binaries.find(ETCD, cache=tmp_path / "cache", environment=environment) == own


def test_an_executable_of_another_minor_version_does_not(tmp_path: Path) -> None:
    _executable(tmp_path / "bin", "etcd", "etcd Version: 3.5.21")
    environment = {"PATH": str(tmp_path / "bin")}
    assert binaries.find(ETCD, cache=tmp_path / "cache", environment=environment) is None


def test_what_was_built_is_found_by_its_exact_version(tmp_path: Path) -> None:
    built = _executable(tmp_path / ETCD.module.key, "etcd", "")
    assert binaries.find(ETCD, cache=tmp_path, environment={}) == built


def test_a_machine_without_go_is_told_what_to_install(
    tmp_path: Path,
) -> None:
    with pytest.raises(FailedPrecondition, match="etcd must be built, and go is not on PATH") as raised:
        binaries.provide([ETCD], cache=tmp_path, environment={"PATH": str(tmp_path)})
    assert raised.value.reason == "GoIsMissing"


def test_a_build_that_fails_quotes_the_compiler(tmp_path: Path) -> None:
    compiler = _executable(tmp_path / "bin", "go", "")
    compiler.write_text("#!/bin/sh\necho 'cannot find module' >&2\nexit 1\n")
    environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    with pytest.raises(FailedPrecondition, match="cannot find module"):
        binaries.provide([ETCD], cache=tmp_path / "cache", environment=environment)


def test_what_a_build_makes_is_kept_under_the_tools_name(
    tmp_path: Path,
) -> None:
    # Stands for the compiler: writes an executable into the folder after -o, named as go would.
    compiler = _executable(tmp_path / "bin", "go", "")
    compiler.write_text('#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\necho built > "$2"server\n')
    environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    made = binaries.provide([ETCD], cache=tmp_path / "cache", environment=environment)["etcd"]
    assert made == tmp_path / "cache" / ETCD.module.key / "etcd"
    assert made.read_text() == "built\n"
