"""Executables: found where the developer has them, else built from their Go modules, once."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cluster.pins import Module, Tool
from selfie.errors import FailedPrecondition

ASSETS_VARIABLE: Final = "KUBEBUILDER_ASSETS"
CACHE_VARIABLE: Final = "SELFIE_CLUSTER_CACHE"


def cache_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Where built executables are kept, in a folder per module and version."""
    base = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(environment.get(CACHE_VARIABLE) or base / "selfie" / "cluster")


def find(tool: Tool, *, cache: Path, environment: Mapping[str, str] = os.environ) -> Path | None:
    """An executable of a fitting version: the developer's own first, then what was built before."""
    elsewhere = (environment.get(ASSETS_VARIABLE), environment.get("PATH"))
    for path in filter(None, elsewhere):
        found = shutil.which(tool.name, path=path)
        if found and tool.ask and tool.accepts(_answer(found, tool.ask)):
            return Path(found)
    built = cache / tool.module.key / tool.name
    return built if built.is_file() else None


def provide(
    tools: Sequence[Tool], *, cache: Path | None = None, environment: Mapping[str, str] = os.environ
) -> dict[str, Path]:
    """Path of each tool by its name. What is missing is built: minutes, once per version.

    `FailedPrecondition` if it must be built and Go is not there, or the build fails.
    """
    kept = cache or cache_directory(environment)
    found = {tool.name: find(tool, cache=kept, environment=environment) for tool in tools}
    missing = [tool for tool in tools if found[tool.name] is None]
    for module in dict.fromkeys(tool.module for tool in missing):
        _build([tool for tool in missing if tool.module == module], kept, environment)
    return {tool.name: found[tool.name] or kept / tool.module.key / tool.name for tool in tools}


def _build(tools: Sequence[Tool], cache: Path, environment: Mapping[str, str]) -> None:
    module = tools[0].module
    go = shutil.which("go", path=environment.get("PATH", ""))
    if go is None:
        raise FailedPrecondition(
            "GoIsMissing",
            f"{', '.join(tool.name for tool in tools)} must be built, and go is not on PATH; install Go"
            f" 1.26 or newer, or put the executables where {ASSETS_VARIABLE} or PATH says",
        )
    with _alone(cache / f"{module.key}.lock"):
        wanted = [tool for tool in tools if not (cache / module.key / tool.name).is_file()]
        if not wanted:
            return
        staging = cache / f"{module.key}.building"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        command = [go, "build", *_flags(module), "-o", f"{staging}/", *(tool.package for tool in wanted)]
        _run(command, module, environment)
        _keep(wanted, staging, cache / module.key)


def _flags(module: Module) -> list[str]:
    link = ["-s", "-w"]
    if module.stamp:
        link += ["-X", f"{module.stamp}={module.version}"]
    return ["-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", " ".join(link)]


def _run(command: Sequence[str], module: Module, environment: Mapping[str, str]) -> None:
    # Static executables, since containers have no libraries of this machine.
    static = {**environment, "CGO_ENABLED": "0"}
    built = subprocess.run(
        command, cwd=module.directory, env=static, capture_output=True, text=True, check=False
    )
    if built.returncode:
        raise FailedPrecondition("BuildFailed", f"{module.key} does not build:\n{built.stderr[-2000:]}")


def _keep(tools: Sequence[Tool], staging: Path, directory: Path) -> None:
    directory.mkdir(exist_ok=True)
    for tool in tools:
        # go names an executable after the last part of its package's path, without the major version.
        last = tool.package.rstrip("/").removesuffix("/v3").rsplit("/", 1)[-1]
        (staging / last).replace(directory / tool.name)
    shutil.rmtree(staging)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Two sessions that want the same build: one builds, the other waits and finds it done."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _answer(executable: str, ask: Sequence[str]) -> str:
    try:
        asked = subprocess.run([executable, *ask], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return asked.stdout
