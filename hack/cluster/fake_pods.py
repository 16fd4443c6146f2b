"""One pod on the fake node: from Pending to its end, as the program that stands for it decides."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from cluster import pod_statuses
from cluster.node_api import Gone, NodeApi
from cluster.pod_statuses import Exit, Starts, Waiting

Object: TypeAlias = dict[str, Any]
TERMINATED: Final = Exit(143)
KILLED: Final = Exit(137)
_POLL_S: Final = 0.1


@dataclass(eq=False)
class FakePod:
    """A pod as its program sees it. Programs run in the node's event loop: what blocks, blocks the node."""

    object: Object
    address: str
    api: NodeApi
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """SIGTERM: set on deletion and eviction; the program may still take the grace period."""
    deleted: asyncio.Event = field(default_factory=asyncio.Event)
    starts: Starts = field(default_factory=Starts)
    logs: list[str] = field(default_factory=list)
    killed: "asyncio.Future[Exit]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    """Set by whoever ends the container from outside, without asking the program."""
    eviction: str | None = None

    @property
    def name(self) -> str:
        """Its name in its namespace."""
        return str(self.object["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return str(self.object["metadata"]["namespace"])

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels."""
        return self.object["metadata"].get("labels") or {}

    @property
    def arguments(self) -> list[str]:
        """Command and arguments of its first container."""
        container = self.object["spec"]["containers"][0]
        return [*container.get("command", ()), *container.get("args", ())]

    @property
    def environment(self) -> dict[str, str]:
        """Variables of its first container that have a literal value."""
        entries = self.object["spec"]["containers"][0].get("env", ())
        return {entry["name"]: entry["value"] for entry in entries if "value" in entry}

    def say(self, line: str) -> None:
        """Writes a line into the container's log."""
        self.logs.append(line)

    async def tell(self, status: Object) -> None:
        """Writes the status; returns once the API server has it, however long that takes."""
        uid = self.object["metadata"]["uid"]
        await self.api.merge(f"{self.path}/status", {"metadata": {"uid": uid}, "status": status})

    async def set_ready(self, ready: bool) -> None:
        """Lets the readiness probe succeed or fail; it succeeds from the start otherwise."""
        await self.tell(
            pod_statuses.running(self.object, address=self.address, starts=self.starts, ready=ready)
        )

    @property
    def path(self) -> str:
        """Where the API has it."""
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"


Program: TypeAlias = Callable[[FakePod], Awaitable[Exit]]


async def succeed(pod: FakePod) -> Exit:
    """Ends at once, and well."""
    return Exit()


async def serve(pod: FakePod) -> Exit:
    """Runs until it is told to stop, and then ends well."""
    await pod.stopping.wait()
    return Exit()


async def hang(pod: FakePod) -> Exit:
    """Runs for ever, and does not listen to SIGTERM."""
    await asyncio.Event().wait()
    return Exit()


def fail(code: int = 1, *, log: str = "", reason: str = "") -> Program:
    """A program that writes ``log`` and ends with this code."""

    async def program(pod: FakePod) -> Exit:
        if log:
            pod.say(log)
        return Exit(code, reason)

    return program


async def live(pod: FakePod, program: Program, waits: Callable[[Object], Waiting | None]) -> None:
    """The whole life of a pod that has been put on the node."""
    with suppress(Gone):
        await _wait(pod, waits)
        ended = await _run_to_the_end(pod, program)
        if pod.eviction is not None:
            told = pod_statuses.evicted(pod.object, ended, message=pod.eviction, starts=pod.starts)
        else:
            told = pod_statuses.finished(pod.object, ended, starts=pod.starts)
        await pod.tell(told)
        await vanish_when_deleted(pod)


async def _wait(pod: FakePod, waits: Callable[[Object], Waiting | None]) -> None:
    told: Waiting | None = None
    while not pod.stopping.is_set() and (why := waits(pod.object)):
        if why != told:
            await pod.tell(pod_statuses.waiting(pod.object, why))
            told = why
        await asyncio.sleep(_POLL_S)


async def _run_to_the_end(pod: FakePod, program: Program) -> Exit:
    while not pod.stopping.is_set():
        running = pod_statuses.running(pod.object, address=pod.address, starts=pod.starts)
        await pod.tell(running)
        ended = await _run_once(pod, program)
        policy = pod.object["spec"].get("restartPolicy", "Always")
        for_good = policy == "Never" or (policy == "OnFailure" and ended.code == 0)
        if for_good or pod.stopping.is_set():
            return ended
        pod.starts = Starts(pod.starts.again + 1, ended)
        pod.killed = asyncio.get_running_loop().create_future()
        await pod.tell(pod_statuses.restarting(pod.object, pod.starts))
        await asyncio.sleep(_POLL_S)
    return TERMINATED


async def _run_once(pod: FakePod, program: Program) -> Exit:
    working = asyncio.ensure_future(program(pod))
    grace = asyncio.create_task(_grace(pod))
    try:
        first: set[asyncio.Future[Any]] = {working, grace, pod.killed}
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        if pod.killed.done():
            return pod.killed.result()
        return working.result() if working.done() else KILLED
    finally:
        grace.cancel()
        working.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await working


async def _grace(pod: FakePod) -> None:
    await pod.stopping.wait()
    metadata, spec = pod.object["metadata"], pod.object["spec"]
    await asyncio.sleep(metadata.get("deletionGracePeriodSeconds", spec["terminationGracePeriodSeconds"]))


async def vanish_when_deleted(pod: FakePod) -> None:
    """What is left of the life of a pod that has ended."""
    await pod.deleted.wait()
    with suppress(Gone):
        await pod.api.delete(pod.path, pod.object["metadata"]["uid"])
