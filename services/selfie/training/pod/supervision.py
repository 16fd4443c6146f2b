"""One child process: its output is passed on and kept, a request to stop reaches it, its end is told."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any

from selfie.artifacts.exits import Exit
from selfie.training.pod.tails import Tail

_LAST_OUTPUT_S = 5


@contextmanager
def ending_on_sigterm() -> Iterator[None]:
    """Until a child is there to be asked, a request to stop ends this process."""

    def end(*_: object) -> None:
        sys.exit(Exit.TERMINATED)

    with _handling(end):
        yield


def supervised(
    command: Sequence[str], environment: Mapping[str, str], tail: Tail, *, upload_every_s: float
) -> int:
    """Runs the command to its end and returns its exit status, by a shell's rule where a signal ended it."""
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=dict(environment))
    with _handling(lambda *_: child.terminate()):
        reader = threading.Thread(target=_pass_on, args=(child.stdout, tail), daemon=True)
        reader.start()
        while True:
            try:
                status = child.wait(upload_every_s)
                break
            except subprocess.TimeoutExpired:
                tail.upload()
        # A grandchild that lives on may hold the pipe open.
        reader.join(_LAST_OUTPUT_S)
        tail.upload()
    return status if status >= 0 else 128 - status


def _pass_on(output: IO[bytes], tail: Tail) -> None:
    with output:
        while data := os.read(output.fileno(), 65536):
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            tail.write(data)


@contextmanager
def _handling(handler: Any) -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
