"""Somebody who has cloned the repository and follows its documents, command by command."""

import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from documented import ROOT

OF_TESTS = {
    *("OMP_NUM_THREADS", "TOKENIZERS_PARALLELISM", "HF_HUB_OFFLINE", "PYTHONPATH", "VIRTUAL_ENV"),
    *("MAKEFLAGS", "MAKELEVEL", "MFLAGS"),
}
"""What the tests, or the make that runs them, have set, and a newcomer has not."""


@dataclass
class Newcomer:
    """``clone`` is their working directory; ``said`` what each command printed.

    ``stand_ins``: what is done in place of a program that this machine does not have, by its name;
    it is given the rest of the command line.
    """

    clone: Path
    environment: Mapping[str, str]
    stand_ins: Mapping[str, Callable[[str], None]] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)

    @classmethod
    def with_clone(cls, folder: Path, *programs: Path, **variables: str) -> "Newcomer":
        """With a clone of the last commit, and these programs on the path beside the system's own."""
        clone = folder / "selfie"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        tools = folder / "bin"
        tools.mkdir()
        for program in programs:
            (tools / program.name).symlink_to(program)
        path = os.pathsep.join((str(tools), os.environ["PATH"]))
        own = {name: value for name, value in os.environ.items() if name not in OF_TESTS}
        return cls(clone, {**own, "PATH": path, **variables})

    def types(self, command: str, *, seconds: float = 300, may_find_nothing: bool = False) -> str:
        """What the command prints; an error with all of it unless it succeeds."""
        program, _, rest = command.partition(" ")
        if program in self.stand_ins:
            self.stand_ins[program](rest)
            return ""
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=self.clone,
            env=dict(self.environment),
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
        fine = {0, 1} if may_find_nothing else {0}
        assert done.returncode in fine, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        self.said[command] = done.stdout
        return done.stdout
