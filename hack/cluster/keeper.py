"""The process that a cluster hangs on: it starts the components, obeys, and takes all with it.

It ends when told to by SIGTERM, or when its owner's end of its standard input is closed, which the
kernel does for an owner that was killed. Its standard output says once how the start went.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cluster import control, control_plane
from cluster.layout import Plan
from cluster.supervision import Component, Supervisor
from selfie.errors import SelfieError


def main(arguments: Sequence[str] | None = None) -> int:
    """Keeps the cluster that the plan in this directory describes."""
    parser = argparse.ArgumentParser(prog="python -m cluster.keeper", description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--owned", action="store_true", help="end when standard input is closed")
    parser.add_argument("--listener", type=int, help="descriptor of the socket that leads to the API server")
    chosen = parser.parse_args(arguments)
    plan = Plan.read(chosen.directory)
    try:
        return asyncio.run(_keep(plan, owned=chosen.owned, listener=chosen.listener))
    finally:
        # A node's directory goes once its namespaces are gone: its warden sees to that.
        if plan.removes and plan.level == "control-plane":
            shutil.rmtree(plan.directory, ignore_errors=True)


async def _keep(plan: Plan, *, owned: bool, listener: int | None) -> int:
    told = asyncio.Event()
    _end_when_told(told, owned=owned)
    supervisor = Supervisor(plan.layout.logs)
    reaping = asyncio.create_task(supervisor.reap_orphans())
    starting = asyncio.create_task(_start(plan, supervisor, listener))
    waiting = asyncio.create_task(told.wait())
    try:
        await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            error = starting.exception()
            _report({"error": str(error)} if error else {"ready": True})
            if error:
                return _failed(error)
        await waiting
        return 0
    finally:
        starting.cancel()
        reaping.cancel()
        await supervisor.stop()


async def _start(plan: Plan, supervisor: Supervisor, listener: int | None) -> None:
    for component in _components(plan):
        await supervisor.start(component)
    if listener is not None:
        from cluster.forwarding import forward

        await forward(socket.socket(fileno=listener), plan.api_address)
    await control.serve(plan.layout.control, supervisor)


def _components(plan: Plan) -> list[Component]:
    secrets = control_plane.make_secrets(plan)
    control_plane.write_kubeconfigs(plan, secrets)
    if plan.level == "control-plane":
        return control_plane.components(plan, secrets)
    from cluster import namespaces, node

    namespaces.furnish(plan)
    return node.components(plan, secrets)


def _end_when_told(told: asyncio.Event, *, owned: bool) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    if owned:

        def readable() -> None:
            if not os.read(sys.stdin.fileno(), 1024):
                told.set()
                loop.remove_reader(sys.stdin.fileno())

        loop.add_reader(sys.stdin.fileno(), readable)


def _report(said: dict[str, object]) -> None:
    # Nobody may be there any more to read it.
    with suppress(BrokenPipeError):
        print(json.dumps(said), flush=True)


def _failed(error: BaseException) -> int:
    if not isinstance(error, SelfieError):
        raise error
    return 1


if __name__ == "__main__":
    sys.exit(main())
