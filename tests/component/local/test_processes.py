"""Services as real child processes: started, replaced, restarted, given up on, and ended."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

import selfie
from selfie.local.processes import Launch, Processes

SERVICE = "selfie.v1.FilteringService"
TOY = """
import os
import signal
import sys
import time
from pathlib import Path

from pydantic_settings import CliApp

from selfie.rpc.server import Service, run
from selfie.rpc.settings import ServerSettings


class Settings(ServerSettings):
    journal: Path
    weights: str = ""
    crashes: bool = False
    stubborn: bool = False


settings = CliApp.run(Settings)


def note(what):
    with settings.journal.open("a") as file:
        file.write(f"{what} {settings.weights} {os.getpid()}\\n")


if settings.stubborn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note("start")
    time.sleep(600)
note("start")
if settings.crashes:
    print("loading")
    sys.exit("the disk is on fire")


async def build():
    return Service(names=("selfie.v1.FilteringService",), register=lambda server: None)


run("toy", settings, build)
note("end")
"""


class Journal:
    """What the toys have written: (`start` or `end`, weights, pid)."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self) -> list[tuple[str, str, int]]:
        if not self.path.exists():
            return []
        rows = (line.split(" ") for line in self.path.read_text().splitlines())
        return [(what, weights, int(pid)) for what, weights, pid in rows]

    def starts(self) -> list[int]:
        return [pid for what, _, pid in self.entries() if what == "start"]


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Journal:
    """A journal, and a place where children find the toy and this source."""
    (tmp_path / "toy_service.py").write_text(TOY)
    sources = [str(tmp_path), str(Path(selfie.__file__).parents[1])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sources))
    return Journal(tmp_path / "journal")


@pytest.fixture
def launch(journal: Journal) -> Callable[..., Launch]:
    def make(*flags: str, weights: str = "first") -> Launch:
        known = ("--journal", str(journal.path), "--weights", weights, "--drain-seconds", "0")
        return Launch("toy_service", SERVICE, (*known, *flags))

    return make


@pytest.fixture
async def processes(tmp_path: Path) -> AsyncIterator[Processes]:
    found = Processes(tmp_path / "services", max_restarts=2, grace_s=2)
    yield found
    await found.close()


def exists(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


async def until(condition: Callable[[], object], *, seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.05)


async def until_ready(processes: Processes, wanted: dict[str, Launch]) -> None:
    async with asyncio.timeout(30):
        while True:
            await processes.reconcile(wanted)
            if all([await processes.channel(name) is not None for name in wanted]):
                return
            await asyncio.sleep(0.05)


async def test_a_wanted_service_is_started_once_and_becomes_ready(processes, launch, journal):
    await processes.reconcile({"scoring": launch()})
    assert processes.names() == ["scoring"]
    assert await processes.channel("scoring") is None
    await until_ready(processes, {"scoring": launch()})
    assert len(journal.starts()) == 1
    assert processes.failure("scoring") is None


async def test_other_weights_take_a_new_process_and_the_old_one_is_gone_before(processes, launch, journal):
    await until_ready(processes, {"scoring": launch()})
    await until_ready(processes, {"scoring": launch(weights="second")})
    story = [(what, weights) for what, weights, _ in journal.entries()]
    assert story == [("start", "first"), ("end", "first"), ("start", "second")]


async def test_a_service_that_is_not_wanted_any_more_ends_and_is_named_until_it_has(
    processes, launch, journal
):
    await until_ready(processes, {"engine": launch(), "scoring": launch()})
    await processes.reconcile({"scoring": launch()})
    assert processes.names() == ["engine", "scoring"]
    assert await processes.channel("engine") is None
    await until(lambda: processes.names() == ["scoring"])
    assert await processes.channel("scoring") is not None


async def test_a_service_that_was_killed_is_started_again(processes, launch, journal):
    await until_ready(processes, {"scoring": launch()})
    os.kill(journal.starts()[0], signal.SIGKILL)
    await until(lambda: not exists(journal.starts()[0]))
    assert await processes.channel("scoring") is None
    await until_ready(processes, {"scoring": launch()})
    assert len(set(journal.starts())) == 2
    assert processes.failure("scoring") is None


async def test_a_service_that_keeps_ending_is_given_up_on_with_the_end_of_its_log(processes, launch, journal):
    wanted = {"scoring": launch("--crashes")}
    async with asyncio.timeout(40):
        while processes.failure("scoring") is None:
            await processes.reconcile(wanted)
            await asyncio.sleep(0.05)
    await processes.reconcile(wanted)
    assert len(journal.starts()) == 3
    failure = processes.failure("scoring")
    assert failure.startswith("scoring ended 3 times")
    assert failure.endswith("the disk is on fire")


async def test_all_of_them_end_in_time_even_one_that_does_not_listen(processes, launch, journal):
    await until_ready(processes, {"scoring": launch()})
    await processes.reconcile({"scoring": launch(), "engine": launch("--stubborn")})
    await until(lambda: len(journal.starts()) == 2)
    started = time.monotonic()
    await processes.close()
    assert time.monotonic() - started < 6
    assert not any(exists(pid) for pid in journal.starts())
    assert processes.names() == []


async def test_a_child_ends_when_the_process_that_started_it_dies(tmp_path, launch, journal):
    program = f"""
import asyncio, os
from pathlib import Path
from selfie.local.processes import Launch, Processes

async def main():
    processes = Processes(Path({str(tmp_path / "orphaned")!r}))
    await processes.reconcile({{"scoring": {launch()!r}}})
    while await processes.channel("scoring") is None:
        await asyncio.sleep(0.05)
    os._exit(9)

asyncio.run(main())
"""
    ended = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", program], timeout=40, check=False)
    assert ended.returncode == 9
    (pid,) = journal.starts()
    await until(lambda: not exists(pid), seconds=15)
    assert ("end", "first", pid) in journal.entries()
