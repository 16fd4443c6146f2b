"""What happens between optimizer steps: progress is told, checkpoints are made, a stop is obeyed."""

import time
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback

from selfie.training.trainer.peers import agreed


class Pace(TrainerCallback):  # type: ignore[misc]
    """Reports (steps done, steps in all), and asks for a checkpoint every ``checkpoint_seconds``.

    ``stopping`` is asked after each step; once it says so, the training ends with a checkpoint.
    Of several ranks one that wants either is enough, because all must do it (`agree`).
    """

    def __init__(
        self,
        report: Callable[[int, int], None],
        *,
        checkpoint_seconds: float,
        stopping: Callable[[], bool] = lambda: False,
        agree: Callable[[bool, bool], tuple[bool, ...]] = agreed,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._report = report
        self._checkpoint_seconds = checkpoint_seconds
        self._stopping = stopping
        self._agree = agree
        self._clock = clock
        self._saved = clock()

    def on_train_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        self._saved = self._clock()
        self._report(state.global_step, state.max_steps)

    def on_step_end(self, _args: Any, state: Any, control: Any, **_: Any) -> Any:
        # The last step needs neither a checkpoint nor a stop: what follows is the result itself.
        if state.global_step < state.max_steps:
            due = self._clock() - self._saved >= self._checkpoint_seconds
            stop, due = self._agree(self._stopping(), due)
            control.should_save = stop or due
            control.should_training_stop = stop
        return control

    def on_log(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        self._report(state.global_step, state.max_steps)

    def on_save(self, *_: Any, **__: Any) -> None:
        self._saved = self._clock()
