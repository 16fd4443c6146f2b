"""A thin image of Selfie: this machine's Python and C libraries, the rest mounted from this machine.

torch alone is gigabytes, and making them into an image for every test would take longer than the
test. So the image holds the interpreter and the shared libraries that packages from PyPI may expect
of a system, and links to three directories that pods mount read-only from the node: the virtual
environment, the standard library, and the checkout.
"""

import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from cluster.images import ImageConfiguration, RootFilesystem, write_archive

IMAGE: Final = "localhost/selfie:thin"
MOUNTED_AT: Final = "/environment"
"""Where the container must see the volume of `volumes.environment_volume`."""
CHECKOUT: Final = Path(__file__).parents[2]

# What the manylinux policy lets wheels take from the system, as far as Python itself does not.
_FOR_WHEELS: Final = (
    "libstdc++.so.6",
    "libgcc_s.so.1",
    "libgomp.so.1",
    "libatomic.so.1",
    "libresolv.so.2",
    "libz.so.1",
    # Empty today, and still named by wheels that were built on older systems.
    "libpthread.so.0",
    "libdl.so.2",
    "librt.so.1",
    "libutil.so.1",
)
_LIBRARY: Final = re.compile(r"(?:=> )?(/\S+) \(0x")


def shown_directories() -> dict[str, str]:
    """Directories of this machine that containers of the image need, by name below `MOUNTED_AT`."""
    return {
        "venv": sys.prefix,
        "stdlib": sysconfig.get_path("stdlib"),
        "checkout": str(CHECKOUT),
    }


def write_thin_image(file: Path) -> Path:
    """Writes the image of this interpreter and this checkout as an OCI archive."""
    return write_archive(file, IMAGE, filesystem(), configuration())


def filesystem() -> RootFilesystem:
    """What the image holds."""
    interpreter = Path(sys.executable).resolve()
    shown = shown_directories()
    made = RootFilesystem(
        directories=["/tmp", "/proc", "/sys", "/dev", "/etc", MOUNTED_AT],
        files={str(name): interpreter for name in _names_of(Path(sys.executable))},
        texts={"/etc/nsswitch.conf": "hosts: files dns\n"},
        # Scripts of the virtual environment name its interpreter by the path that it has here.
        links={shown[name]: f"{MOUNTED_AT}/{name}" for name in ("venv", "stdlib")},
    )
    # By the names under which they are looked for, which links would hide.
    for library in _libraries(interpreter, Path(shown["stdlib"])):
        made.files[str(library)] = library.resolve()
    return made


def _names_of(interpreter: Path) -> Iterator[Path]:
    """Where links lead on the way from the virtual environment, which is not in the image, to the file."""
    while interpreter.is_symlink():
        interpreter = interpreter.parent / interpreter.readlink()
        if not interpreter.is_relative_to(sys.prefix):
            yield interpreter


def _libraries(interpreter: Path, stdlib: Path) -> set[Path]:
    # Windows would bring half of X11 with them.
    modules = [file for file in (stdlib / "lib-dynload").glob("*.so") if "tkinter" not in file.name]
    found = _needed([interpreter, *modules])
    known = _system_libraries()
    found |= {known[name] for name in _FOR_WHEELS if name in known}
    return found | _needed(found)


def _needed(files: Iterable[Path]) -> set[Path]:
    listed = subprocess.run(["ldd", *map(str, files)], capture_output=True, text=True, check=False)
    return {Path(path) for path in _LIBRARY.findall(listed.stdout)}


def _system_libraries() -> Mapping[str, Path]:
    listed = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True)
    pairs = (line.strip().partition(" => ") for line in listed.stdout.splitlines() if " => " in line)
    found: dict[str, Path] = {}
    for left, _, path in pairs:
        found.setdefault(left.split(" ")[0], Path(path))
    return found


def configuration() -> ImageConfiguration:
    """What its containers start with."""
    sources = f"{MOUNTED_AT}/checkout/services:{MOUNTED_AT}/checkout/operator"
    return ImageConfiguration(
        environment={
            "PATH": f"{MOUNTED_AT}/venv/bin",
            "PYTHONPATH": sources,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "LANG": "C.UTF-8",
        }
    )
