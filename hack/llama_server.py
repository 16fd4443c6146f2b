"""llama.cpp's server, built from the source that its Python package carries.

python hack/llama_server.py    # a quarter of an hour on two cores, once; prints where it is
"""

import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from environments import ROOT, environment

PLACE: Final = ROOT / ".cache/llama.cpp/llama-server"
SOURCE: Final = ROOT / "requirements/llama-source.txt"
# No page of its own, no TLS, nothing that is fetched while it is built.
OPTIONS: Final = (
    "CMAKE_BUILD_TYPE=Release",
    "BUILD_SHARED_LIBS=OFF",
    "FETCHCONTENT_FULLY_DISCONNECTED=ON",
    "LLAMA_BUILD_APP=OFF",
    "LLAMA_BUILD_EXAMPLES=OFF",
    "LLAMA_BUILD_TESTS=OFF",
    "LLAMA_BUILD_UI=OFF",
    "LLAMA_OPENSSL=OFF",
    "LLAMA_USE_PREBUILT_UI=OFF",
)


def built() -> Path:
    """The server's executable; it is built if it is not there."""
    if not PLACE.exists():
        python = environment("llama-tools")
        with tempfile.TemporaryDirectory() as folder:
            made = _compiled(_source(python, Path(folder)), Path(folder) / "out", python.parent)
            PLACE.parent.mkdir(parents=True, exist_ok=True)
            # The last step, so that one which is half made is made again.
            partial = PLACE.with_suffix(".partial")
            shutil.copy(made, partial)
            partial.rename(PLACE)
    return PLACE


def _source(python: Path, folder: Path) -> Path:
    """llama.cpp's tree, out of the package's source."""
    download = [str(python), "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    download += ["--no-binary=:all:", "--no-build-isolation", "--require-hashes", f"--dest={folder}"]
    subprocess.run([*download, "-r", str(SOURCE)], check=True)
    [archive] = folder.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    [tree] = folder.glob("*/vendor/llama.cpp")
    return tree


def _compiled(tree: Path, out: Path, tools: Path) -> Path:
    environ = {**os.environ, "PATH": os.pathsep.join((str(tools), os.environ["PATH"]))}
    options = [f"-D{option}" for option in OPTIONS]
    subprocess.run(["cmake", "-S", tree, "-B", out, "-G", "Ninja", *options], check=True, env=environ)
    subprocess.run(["cmake", "--build", out, "--target", "llama-server"], check=True, env=environ)
    return out / "bin/llama-server"


if __name__ == "__main__":
    print(built())
