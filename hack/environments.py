"""Environments of other versions, which share this one's torch.

    python hack/environments.py NAME    # requirements/NAME.txt into .cache/NAME

What is installed there is found first, and whatever is not, such as torch, in the environment that
runs this.
"""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def environment(name: str) -> Path:
    """The environment's interpreter; it is made if it is not there."""
    place = ROOT / ".cache" / name
    python, shared = place / "bin" / "python", "shared.pth"
    if not list(place.glob(f"lib/python*/site-packages/{shared}")):
        uv = os.environ.get("UV", str(ROOT / ".cache" / "uv" / "bin" / "uv"))
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(place)], check=True)
        install = [
            uv,
            "pip",
            "install",
            "--quiet",
            "--no-config",
            "--require-hashes",
            "--python",
            str(python),
        ]
        subprocess.run([*install, "-r", str(ROOT / "requirements" / f"{name}.txt")], check=True)
        [packages] = place.glob("lib/python*/site-packages")
        # Written last, so that an environment which is half made is made again.
        (packages / shared).write_text(f"{sysconfig.get_path('purelib')}\n")
    return python


if __name__ == "__main__":
    print(environment(sys.argv[1]))
