"""Starts Python modules as processes of their own session, in one of two ways.

`Interpreter` starts a new interpreter. A `Nursery` (`selfie.processes.nursery`) has imported what is
slow to import, and forks: a service of ours spends nine seconds on imports otherwise, many times a run.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from selfie.errors import Unavailable
from selfie.processes.births import Born, process_birth

_ENDED_AT_ONCE = "ended at once"
_ANSWER_WITHIN_S = 180.0


@dataclass(frozen=True)
class Order:
    """A module to run as ``__main__``: its output goes to the end of ``log``, its input is empty."""

    module: str
    arguments: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """The order as one line."""
        fields = {**vars(self), "arguments": list(self.arguments), "log": str(self.log)}
        return json.dumps(fields).encode() + b"\n"


class Spawner(Protocol):
    """Some way of starting processes."""

    def spawn(self, order: Order) -> Born:
        """Starts it, in a session of its own."""
        ...


class Interpreter:
    """A new interpreter for each; ``environment`` is added to this process's own."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = dict(environment or {})

    def spawn(self, order: Order) -> Born:
        with order.log.open("ab") as output:
            child = subprocess.Popen(
                [sys.executable, "-m", order.module, *order.arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **self._environment, **order.environment},
            )
        # Read before anybody waits for the child: until then its number is not given to another process.
        born = Born(child.pid, process_birth(child.pid) or _ENDED_AT_ONCE)
        threading.Thread(target=child.wait, daemon=True).start()
        return born


class Nursery:
    """A nursery that listens at ``address``, started by somebody else.

    Raises `Unavailable` if it has gone.
    """

    def __init__(self, address: Path) -> None:
        self.address = address

    def warm_up(self) -> None:
        """Makes sure that it is there; what is somebody else's is theirs to keep."""

    def spawn(self, order: Order) -> Born:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(_ANSWER_WITHIN_S)
                connection.connect(str(self.address))
                connection.sendall(order.to_json())
                answer = connection.makefile().readline()
        except OSError as error:
            raise Unavailable(f"the nursery at {self.address} does not answer: {error}") from error
        if not answer:
            raise Unavailable(f"the nursery at {self.address} ended before it could start {order.module}")
        return Born(**json.loads(answer))


class OwnNursery(Nursery):
    """A nursery that is started when it is first needed, and again should it be killed.

    ``modules`` are imported in it once, under ``environment``. It ends with this process, if not before.
    """

    def __init__(self, directory: Path, modules: Sequence[str], environment: Mapping[str, str]) -> None:
        super().__init__(directory / "nursery")
        self._log = directory / "nursery.log"
        self._modules = modules
        self._interpreter = Interpreter(environment)
        self._process: Born | None = None
        self._starting = threading.Lock()

    def warm_up(self) -> None:
        """Starts it unless it is there, and does not wait for its imports."""
        self.start()

    def start(self) -> Born:
        """As `warm_up`; returns its process."""
        with self._starting:
            if self._process is None or not self._process.is_alive:
                self.address.unlink(missing_ok=True)
                arguments = ("--address", str(self.address), "--parent-pid", str(os.getpid()))
                order = Order("selfie.processes.nursery", (*arguments, *self._modules), self._log)
                self._process = self._interpreter.spawn(order)
            return self._process

    def spawn(self, order: Order) -> Born:
        process = self.start()
        # It listens before it imports, so this wait is for an interpreter alone.
        while process.is_alive and not self.address.exists():
            time.sleep(0.01)
        return super().spawn(order)

    def close(self) -> None:
        """Ends it; what it has started lives on."""
        if self._process is not None:
            self._process.send(signal.SIGKILL)
