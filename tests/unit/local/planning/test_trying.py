"""Trials as processes: what each is told, what is read of it, and what is said of one that failed."""

import json
import signal
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from selfie.local.planning.__main__ import main
from selfie.local.planning.trying import Trying
from selfie.processes.spawning import Order
from selfie.runs.estimates.trials import SamplingTrial, ScoringTrial, TrainingTrial, Trials

SCORING = ScoringTrial(prompts=2, responses=3, prompt_tokens=4, response_tokens=5, lam=0.5)
SAMPLING = SamplingTrial(rows=16, few_rows=2, prompt_tokens=8)
TRAINING = TrainingTrial(pairs=2, prompt_tokens=4, response_tokens=5, lora_rank=0, lora_alpha=0, lam=0.5)
TRIALS = Trials(SCORING, SAMPLING, TRAINING, ("something else was not tried",))
FOUND = {
    "scoring": {"seconds": 1.0},
    "sampling": {"step_seconds": 0.5, "few_step_seconds": 0.25},
    "training": {"seconds": 2.0, "update_seconds": 0.5, "partition_seconds": 0.125},
}


class Toy:
    """A process that does its work when it is looked at for the second time."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._looks = 0
        self.signals: list[signal.Signals] = []

    @property
    def is_alive(self) -> bool:
        self._looks += 1
        if self._looks == 2:
            self._work()
        return self._looks < 3

    def send(self, signum: signal.Signals) -> bool:
        self.signals.append(signum)
        return True


class ToySpawner:
    """Runs the real program, with toys for the work itself, in this process."""

    def __init__(self, *, fails: str = "", hangs: str = "") -> None:
        self.orders: list[Order] = []
        self.asked: dict[str, object] = {}
        self.processes: list[Toy] = []
        self._fails, self._hangs = fails, hangs

    def spawn(self, order: Order) -> Toy:
        self.orders.append(order)
        self.processes.append(Toy(lambda: self._run(order)))
        return self.processes[-1]

    def _run(self, order: Order) -> None:
        kind = order.arguments[1]
        if kind == self._hangs:
            return
        if kind == self._fails:
            order.log.write_text("Traceback …\nMemoryError: no room\n")
            return
        main(list(order.arguments), attempts={name: self._attempt(name) for name in FOUND})

    def _attempt(self, name: str):
        def attempt(trial, model, _clock):
            self.asked[name] = (trial, model)
            return FOUND[name]

        return attempt


def tried(spawner: ToySpawner, directory: Path, trials: Trials = TRIALS):
    return Trying(spawner, directory, Path("/model"), sleep=lambda _: None).measured(trials)


def test_each_trial_is_a_process_that_is_told_what_to_try(tmp_path):
    spawner = ToySpawner()
    tried(spawner, tmp_path)
    assert [order.module for order in spawner.orders] == 3 * ["selfie.local.planning"]
    assert spawner.asked == {
        "scoring": (asdict(SCORING), Path("/model")),
        "sampling": (asdict(SAMPLING), Path("/model")),
        "training": (asdict(TRAINING), Path("/model")),
    }


def test_what_trials_found_is_read_with_the_memory_that_they_took(tmp_path):
    found = tried(ToySpawner(), tmp_path)
    assert (found.scoring.trial, found.scoring.seconds) == (SCORING, 1.0)
    assert (found.sampling.step_seconds, found.sampling.few_step_seconds) == (0.5, 0.25)
    assert found.training.partition_seconds == 0.125
    assert found.training.peak_bytes > 1e7
    assert found.notes == ("something else was not tried",)


def test_what_is_not_to_be_tried_is_not(tmp_path):
    spawner = ToySpawner()
    found = tried(spawner, tmp_path, Trials(None, SAMPLING, None))
    assert len(spawner.orders) == 1
    assert (found.scoring, found.training, found.notes) == (None, None, ())


def test_of_a_trial_that_failed_the_last_words_are_told(tmp_path):
    found = tried(ToySpawner(fails="training"), tmp_path)
    assert found.training is None
    assert found.scoring is not None
    assert found.notes[-1] == "training was not measured: MemoryError: no room"


def test_a_trial_that_does_not_end_is_ended(tmp_path):
    spawner, times = ToySpawner(hangs="scoring"), iter(range(0, 10_000, 60))
    trying = Trying(
        spawner,
        tmp_path,
        Path("/model"),
        patience_s=50,
        clock=lambda: next(times),
        sleep=lambda _: None,
    )
    found = trying.measured(Trials(SCORING, None, None))
    assert found.notes == ("scoring was not measured: not done in 50 s",)
    assert spawner.processes[0].signals == [signal.SIGKILL]


def test_the_program_writes_its_figures_whole(tmp_path):
    output = tmp_path / "found.json"
    arguments = ["--kind", "scoring", "--model", "/m", "--trial", "{}", "--output", str(output)]
    main(arguments, attempts={"scoring": lambda *_: {"seconds": 3.0}})
    assert json.loads(output.read_text())["seconds"] == 3.0
    assert list(tmp_path.iterdir()) == [output]


def test_the_program_refuses_an_unknown_kind(capsys):
    with pytest.raises(SystemExit):
        main(["--kind", "cooking"])
    assert "invalid choice" in capsys.readouterr().err
