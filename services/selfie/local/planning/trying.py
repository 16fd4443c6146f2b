"""Makes the trials, each in a process as the run itself would start it, and reads what they found."""

import json
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from selfie.local.nurseries import own_nursery
from selfie.processes.spawning import Order, Spawner
from selfie.runs.estimates.measured import Measured, SamplingTime, ScoringTime, TrainingTime
from selfie.runs.estimates.trials import AnyTrial, Trials

PATIENCE_S = 90.0
"""After which a trial is given up; its predicted time is far less."""

_LOOK_EVERY_S = 0.1
_Time = TypeVar("_Time", ScoringTime, SamplingTime, TrainingTime)


def try_here(trials: Trials, model: Path) -> Measured:
    """Makes the trials one after the other, by a nursery with the run's own imports and environment."""
    with TemporaryDirectory(prefix="selfie-") as directory:
        nursery = own_nursery(Path(directory))
        try:
            return Trying(nursery, Path(directory), model).measured(trials)
        finally:
            nursery.close()


@dataclass(frozen=True)
class Trying:
    """Trials with the weights in ``model``; their output lies in ``directory``."""

    spawner: Spawner
    directory: Path
    model: Path
    patience_s: float = PATIENCE_S
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def measured(self, trials: Trials) -> Measured:
        """What each trial found; where one found nothing, the notes say why."""
        notes = list(trials.skipped)
        return Measured(
            self._try(trials.scoring, ScoringTime, notes),
            self._try(trials.sampling, SamplingTime, notes),
            self._try(trials.training, TrainingTime, notes),
            tuple(notes),
        )

    def _try(self, trial: AnyTrial | None, made: Callable[..., _Time], notes: list[str]) -> _Time | None:
        if trial is None:
            return None
        output, log = self.directory / f"{trial.name}.json", self.directory / f"{trial.name}.log"
        arguments = {
            "--kind": trial.name,
            "--model": str(self.model),
            "--trial": json.dumps(asdict(trial)),
            "--output": str(output),
        }
        words = tuple(word for pair in arguments.items() for word in pair)
        process = self.spawner.spawn(Order("selfie.local.planning", words, log))
        give_up_at = self.clock() + self.patience_s
        while process.is_alive and self.clock() < give_up_at:
            self.sleep(_LOOK_EVERY_S)
        process.send(signal.SIGKILL)
        if output.is_file():
            return made(trial=trial, **json.loads(output.read_text()))
        last = log.read_text(errors="replace").strip().splitlines()[-1:] if log.is_file() else []
        notes.append(
            f"{trial.name} was not measured: {''.join(last) or f'not done in {self.patience_s:.0f} s'}"
        )
        return None
