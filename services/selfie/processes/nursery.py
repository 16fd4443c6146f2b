"""``python -m selfie.processes.nursery --address SOCKET --parent-pid PID MODULE…``: forks processes on order.

It imports the modules once and then only listens: no thread, no call into what it has imported, so
that a fork of it is as good as a fresh interpreter that has done the same imports. An order is one
line of JSON (`selfie.processes.spawning.Order`), the answer the process's number and birth. It ends
when its parent does.
"""

import argparse
import gc
import importlib
import json
import os
import random
import runpy
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from selfie.processes.births import process_birth

_LOOK_EVERY_S = 0.5


def main() -> None:
    """Serves until the parent has ended; in a child, runs what was ordered."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", type=Path, required=True)
    parser.add_argument("--parent-pid", type=int, required=True)
    parser.add_argument("modules", nargs="*")
    options = parser.parse_args()
    with socket.socket(socket.AF_UNIX) as listener:
        # Named when it listens: between the two, whoever sees the socket is refused.
        partial = options.address.with_suffix(".partial")
        listener.bind(str(partial))
        listener.listen(64)
        partial.rename(options.address)
        for module in options.modules:
            importlib.import_module(module)
        # What is there now is never freed: collecting it would copy every page into every child.
        gc.collect()
        gc.freeze()
        # Nobody waits for the children; they are known by their birth.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        order = _serve(listener, options.parent_pid)
    if order is None:
        options.address.unlink(missing_ok=True)
        return
    sys.argv = [order["module"], *order["arguments"]]
    runpy.run_module(order["module"], run_name="__main__", alter_sys=True)


def _serve(listener: socket.socket, parent_pid: int) -> dict[str, Any] | None:
    """Answers orders; returns None when the parent has ended, and in each child its order."""
    listener.settimeout(_LOOK_EVERY_S)
    while os.getppid() == parent_pid:
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        with connection:
            connection.settimeout(None)
            line = connection.makefile().readline()
            if not line:
                continue
            order: dict[str, Any] = json.loads(line)
            pid = os.fork()
            if pid == 0:
                _become(order)
                return order
            answer = {"pid": pid, "birth": process_birth(pid) or "ended at once"}
            connection.sendall(json.dumps(answer).encode() + b"\n")
    return None


def _become(order: dict[str, Any]) -> None:
    """Makes the child what a process is that was started by itself."""
    os.setsid()
    for signum in (signal.SIGCHLD, signal.SIGINT):
        signal.signal(signum, signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.environ.update(order["environment"])
    # For whoever looks at the list of processes; the kernel keeps 15 characters.
    Path("/proc/self/comm").write_text(order["module"][:15])
    random.seed()


if __name__ == "__main__":
    main()
