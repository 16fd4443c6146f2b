"""Processes started by a new interpreter and by a nursery, as real processes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from selfie.errors import Unavailable
from selfie.processes.births import Born
from selfie.processes.spawning import Interpreter, Nursery, Order, OwnNursery, Spawner

SLOW = """
import os
imported_by = os.getpid()
"""
TOY = """
import json, os, random, sys, time
from pathlib import Path
import slow_module

facts = {
    "arguments": sys.argv[1:],
    "word": os.environ.get("TOY_WORD"),
    "pid": os.getpid(),
    "parent": os.getppid(),
    "session": os.getsid(0),
    "imported_by": slow_module.imported_by,
    "name": __name__,
    "chance": random.random(),
    "input": sys.stdin.read(),
}
place = Path(sys.argv[1])
place.with_suffix(".part").write_text(json.dumps(facts))
place.with_suffix(".part").rename(place)
print("said", flush=True)
if "crash" in sys.argv:
    raise RuntimeError("the disk is on fire")
if "stay" in sys.argv:
    time.sleep(120)
"""


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_module.py").write_text(SLOW)
    (tmp_path / "toy.py").write_text(TOY)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    monkeypatch.setenv("PYTHONPATH", path)


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[OwnNursery]:
    found = OwnNursery(tmp_path, ["slow_module"], {"TOY_WORD": "nursed"})
    yield found
    found.close()


@pytest.fixture
def interpreter() -> Interpreter:
    return Interpreter({"TOY_WORD": "nursed"})


@pytest.fixture(params=["interpreter", "nursery"])
def spawner(request: pytest.FixtureRequest) -> Spawner:
    return request.getfixturevalue(request.param)


@pytest.fixture
def order(tmp_path: Path) -> Callable[..., Order]:
    def make(*arguments: str, name: str = "facts", **environment: str) -> Order:
        return Order("toy", (str(tmp_path / name), *arguments), tmp_path / f"{name}.log", environment)

    return make


def until(condition: Callable[[], object], *, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def facts_of(order: Order) -> dict:
    place = Path(order.arguments[0])
    until(place.exists)
    return json.loads(place.read_text())


def test_a_module_runs_as_if_it_had_been_started_by_itself(spawner: Spawner, order):
    asked = order("one", "two")
    born = spawner.spawn(asked)
    facts = facts_of(asked)
    assert facts["arguments"][1:] == ["one", "two"]
    assert (facts["pid"], facts["session"]) == (born.pid, born.pid)
    assert (facts["name"], facts["input"], facts["word"]) == ("__main__", "", "nursed")
    until(lambda: not born.is_alive)
    assert asked.log.read_text() == "said\n"


def test_an_order_has_its_own_environment(spawner: Spawner, order):
    asked = order(TOY_WORD="own")
    spawner.spawn(asked)
    assert facts_of(asked)["word"] == "own"
    another = order(name="another")
    spawner.spawn(another)
    assert facts_of(another)["word"] == "nursed"


def test_what_goes_wrong_is_in_the_log(spawner: Spawner, order):
    asked = order("crash")
    born = spawner.spawn(asked)
    until(lambda: not born.is_alive)
    assert asked.log.read_text().endswith("RuntimeError: the disk is on fire\n")


def test_a_process_can_be_ended(spawner: Spawner, order):
    asked = order("stay")
    born = spawner.spawn(asked)
    facts_of(asked)
    assert born.send(signal.SIGTERM)
    until(lambda: not born.is_alive)
    assert not born.send(signal.SIGTERM)


def test_the_nursery_has_imported_once_what_its_children_need(nursery: OwnNursery, order):
    asked = [order(name=f"facts-{number}") for number in range(3)]
    for one in asked:
        nursery.spawn(one)
    facts = [facts_of(one) for one in asked]
    assert {one["imported_by"] for one in facts} == {nursery.start().pid}
    assert len({one["chance"] for one in facts}) == 3


def test_a_nursery_that_was_killed_is_started_again_and_its_children_live_on(nursery: OwnNursery, order):
    first = order("stay", name="first")
    child = nursery.spawn(first)
    facts_of(first)
    before = nursery.start()
    before.send(signal.SIGKILL)
    until(lambda: not before.is_alive)
    second = order(name="second")
    nursery.spawn(second)
    assert facts_of(second)["parent"] == nursery.start().pid != before.pid
    assert child.is_alive
    child.send(signal.SIGKILL)


def test_somebody_else_may_order_from_it_too(nursery: OwnNursery, order):
    nursery.start()
    until(nursery.address.exists)
    asked = order()
    Nursery(nursery.address).spawn(asked)
    assert facts_of(asked)["parent"] == nursery.start().pid


def test_a_nursery_that_is_not_there_is_said_to_be_unavailable(tmp_path: Path, order):
    with pytest.raises(Unavailable, match="does not answer"):
        Nursery(tmp_path / "nobody").spawn(order())


def test_it_ends_with_the_process_that_started_it(tmp_path: Path):
    program = f"""
import os
from pathlib import Path
from selfie.processes.spawning import OwnNursery
print(*OwnNursery(Path({str(tmp_path)!r}), [], {{}}).start(), flush=True)
os._exit(0)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    pid, birth = ended.stdout.split()
    until(lambda: not Born(int(pid), birth).is_alive, seconds=10)
