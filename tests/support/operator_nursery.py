"""Operators as processes of their own, each forked from one that has imported everything already.

``python operator_nursery.py`` reads one JSON object a line, ``{"environment": {}, "log": "file"}``,
and answers with the process's id; the process goes on as ``python -m selfie_operator`` does. A start
by the interpreter takes two seconds of a processor for imports, and one test needs hundreds.
"""

import asyncio
import ctypes
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import grpc  # noqa: F401  # imported once for all

import selfie_operator.reconciling  # noqa: F401
from selfie_operator.__main__ import main

_DIES_WITH_PARENT = 1


class Nursery:
    """Where operators come from; those that are alive end with it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._asked = asyncio.Lock()
        self._alive: set[int] = set()

    @classmethod
    @asynccontextmanager
    async def started(cls) -> AsyncIterator["Nursery"]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            __file__,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        nursery = cls(process)
        try:
            yield nursery
        finally:
            for pid in nursery._alive:
                nursery.signal(pid, signal.SIGKILL)
            assert process.stdin
            process.stdin.close()
            await process.wait()

    async def start(self, environment: Mapping[str, str], log: Path) -> int:
        """The id of a new operator."""
        return await asyncio.shield(self._start(environment, log))

    async def _start(self, environment: Mapping[str, str], log: Path) -> int:
        pid = int(await self._ask({"environment": dict(environment), "log": str(log)}))
        self._alive.add(pid)
        return pid

    async def ended(self, pid: int) -> int | None:
        """How the operator ended, as `os.waitstatus_to_exitcode` says it; None while it lives."""
        return await asyncio.shield(self._ended(pid))

    async def _ended(self, pid: int) -> int | None:
        if pid not in self._alive:
            return -signal.SIGKILL
        status = await self._ask({"wait": pid})
        if status == "alive":
            return None
        self._alive.discard(pid)
        return int(status)

    def signal(self, pid: int, signum: signal.Signals) -> None:
        """Sends a signal; one that has ended is not reaped before `ended`, so the id is still its own."""
        if pid in self._alive:
            os.kill(pid, signum)

    async def _ask(self, wanted: Mapping[str, object]) -> str:
        assert self._process.stdin
        assert self._process.stdout
        async with self._asked:
            self._process.stdin.write(json.dumps(wanted).encode() + b"\n")
            await self._process.stdin.drain()
            return (await self._process.stdout.readline()).decode().strip()


def _serve() -> None:
    for line in sys.stdin:
        wanted = json.loads(line)
        if "wait" in wanted:
            pid, status = os.waitpid(wanted["wait"], os.WNOHANG)
            answer = str(os.waitstatus_to_exitcode(status)) if pid else "alive"
        else:
            answer = str(_fork(wanted["environment"], wanted["log"]))
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


def _fork(environment: Mapping[str, str], log: str) -> int:
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    # An operator that nobody ends any more would go on for ever.
    ctypes.CDLL(None).prctl(_DIES_WITH_PARENT, signal.SIGKILL)
    null = os.open(os.devnull, os.O_RDWR)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for target, source in ((0, null), (1, file), (2, file)):
        os.dup2(source, target)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["selfie_operator"]
    try:
        main()
    except SystemExit as ending:
        os._exit(int(ending.code or 0))
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(70)
    os._exit(0)


if __name__ == "__main__":
    _serve()
