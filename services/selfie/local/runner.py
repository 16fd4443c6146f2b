"""The loop of a run on this machine: observe, plan, act, report, until the run has ended."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from selfie.dispatch.retention import Retention
from selfie.errors import Unavailable
from selfie.local.launches import Launches
from selfie.local.nurseries import nursery_for_runs
from selfie.local.places import LocalRun, forget, weights_cache
from selfie.local.processes import Processes
from selfie.local.world import LocalWorld
from selfie.monitoring.boards import RunBoard
from selfie.monitoring.serving import served
from selfie.monitoring.sights import RunName
from selfie.processes.spawning import Nursery
from selfie.runs.observed import Observed
from selfie.runs.plan import plan
from selfie.runs.status import RunStatus

if TYPE_CHECKING:
    from selfie.local.external import EngineChoice, ExternalEngine

LOOK_EVERY_S = 0.5
Watcher = Callable[[RunStatus, Observed], None]


NAMESPACE = "local"
"""What stands in the place of a namespace in the metrics of a run on this machine."""


async def run_here(
    local: LocalRun,
    *,
    model_cache: Path,
    watch: Watcher,
    engine: "EngineChoice | None" = None,
    metrics_port: int | None = None,
) -> RunStatus:
    """Takes the run as far as it goes; returns its last status.

    ``engine`` is one that is there already; without it the run starts its own. With ``metrics_port``
    Prometheus finds the run and its processes there (`selfie.monitoring.serving`).

    A run that has ended returns at once. SIGINT and SIGTERM end the processes in order and return
    a status that is not terminal: the same call goes on from there. Raises `Unavailable` when a
    service cannot be kept running.
    """
    with nursery_for_runs() as nursery:
        processes = Processes(local.scratch / "services", nursery=nursery)
        external = None if engine is None else _external(engine, local)
        launches = Launches(local, nursery.address, external.flags if external else ())
        world = LocalWorld(local, processes, launches, model_cache=model_cache, engine=external)
        try:
            stopped = _stop_event()
            with _watched(local, processes, watch, metrics_port) as (watching, read_once_more):
                status = await _until_it_ends(world, local, watching, nursery, stopped)
                if status.is_terminal:
                    await read_once_more(stopped)
                return status
        finally:
            await processes.close()
            if external is not None:
                await external.close()


@contextmanager
def _watched(
    local: LocalRun, processes: Processes, watch: Watcher, port: int | None
) -> Iterator[tuple[Watcher, Callable[[asyncio.Event], Awaitable[None]]]]:
    """The watcher, which tells Prometheus too where that is wanted; and what waits until it has heard all."""
    if port is None:
        yield watch, _nothing
        return
    board, name = RunBoard(), RunName(NAMESPACE, local.run.metadata.name)

    def watching(status: RunStatus, observed: Observed) -> None:
        board.tell(name, status)
        board.observe(name, local.run.spec, observed)
        watch(status, observed)

    with served(board, processes.metrics_addresses, port) as page:
        yield watching, page.read_once_more


async def _nothing(_stopped: asyncio.Event) -> None:
    return None


def _external(engine: "EngineChoice", local: LocalRun) -> "ExternalEngine":
    # Imported when it is used: most runs need none of what it speaks to servers with.
    from selfie.local.external import ExternalEngine

    return ExternalEngine(engine, weights_cache(local.scratch))


async def _until_it_ends(
    world: LocalWorld, local: LocalRun, watch: Watcher, nursery: Nursery, stopped: asyncio.Event
) -> RunStatus:
    status = local.read_status()
    retention = Retention(local.store, partial(forget, weights_cache(local.scratch)))
    while not stopped.is_set():
        observed = await world.observe(status)
        decided = plan(local.run.spec, status, observed, datetime.now(UTC))
        if decided.status != status:
            await asyncio.to_thread(local.write_status, decided.status)
        status = decided.status
        watch(status, observed)
        await retention.look(local.run.spec, status, observed)
        if status.is_terminal and not decided.actions:
            break
        if decided.services is not None:
            nursery.warm_up()
            await world.reconcile(decided.services)
        for action in decided.actions:
            await world.act(action)
        if (failure := world.failure()) is not None:
            raise Unavailable(failure)
        await _sleep(stopped, min(decided.requeue_after_s or LOOK_EVERY_S, LOOK_EVERY_S))
    return status


def _stop_event() -> asyncio.Event:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, stopped.set)
    return stopped


async def _sleep(stopped: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stopped.wait()
    except TimeoutError:
        return
