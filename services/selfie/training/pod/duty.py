"""What a pod is there for."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from selfie.artifacts.programs import PARAMETERS_FILE
from selfie.runs.programs import ProgramName


@dataclass(frozen=True)
class Duty:
    """One attempt at a step; with ``nodes`` or ``ranks`` above 1, a part of it."""

    program: ProgramName
    run_uri: str
    step: str
    attempt: int
    parameters_sha256: str
    nodes: int = 1
    ranks: int = 1
    main: str = ""

    @property
    def path(self) -> str:
        """Directory of the attempt under the run's root."""
        return f"{self.step}/a{self.attempt}"

    @property
    def parameters_path(self) -> str:
        """Where the parameters lie under the run's root."""
        return f"{self.path}/{PARAMETERS_FILE}"

    def command(self, parameters: Path, *, node: int, modules: Mapping[ProgramName, str]) -> list[str]:
        """The program's command line, on this node of those that work together."""
        module, told = modules[self.program], ("--parameters", str(parameters))
        if self.nodes * self.ranks == 1:
            return [sys.executable, "-m", module, *told]
        together = {
            "--nodes": self.nodes,
            "--node": node,
            "--ranks": self.ranks,
            "--main": self.main,
            "--module": module,
        }
        shared = [word for name, value in together.items() for word in (name, str(value))]
        return [sys.executable, "-m", "selfie.training.trainer.ranks", *shared, *told]
