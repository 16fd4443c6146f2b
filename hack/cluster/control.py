"""Orders to a cluster's keeper: one JSON object per line, over a socket in the cluster's directory."""

import asyncio
import json
import signal
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from cluster.supervision import START_LIMIT_S, Supervisor
from selfie.errors import InvalidInput, SelfieError, Unavailable

Order: TypeAlias = Literal["kill", "start", "restart", "pause", "resume", "pids"]
Answer: TypeAlias = dict[str, Any]
_PATIENCE_S: Final = START_LIMIT_S + 30


def ask(control: Path, order: Order, component: str = "") -> Answer:
    """Gives an order and waits until it is carried out; `Unavailable` with what the keeper says."""
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(_PATIENCE_S)
        try:
            line.connect(str(control))
            line.sendall(json.dumps({"order": order, "component": component}).encode() + b"\n")
            with line.makefile() as answers:
                answer: Answer = json.loads(answers.readline() or "{}")
        except OSError as error:
            raise Unavailable(f"no cluster answers at {control}: {error}") from error
    if "error" in answer or not answer:
        raise Unavailable(f"{order} {component}: {answer.get('error', 'the keeper went away')}")
    return answer


async def serve(control: Path, supervisor: Supervisor) -> asyncio.Server:
    """Takes orders until it is closed."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = await reader.readline()
        if line:
            writer.write(json.dumps(await _carried_out(supervisor, json.loads(line))).encode() + b"\n")
            await writer.drain()
        writer.close()

    return await asyncio.start_unix_server(answer, control)


async def _carried_out(supervisor: Supervisor, request: dict[str, str]) -> Answer:
    try:
        await _orders(supervisor, request["component"])[request["order"]]()
    except SelfieError as error:
        return {"error": str(error)}
    except KeyError as error:
        return {"error": str(InvalidInput("order", f"{error} is none", "use start, kill or restart"))}
    return {"pids": supervisor.pids()}


def _orders(supervisor: Supervisor, name: str) -> dict[str, Callable[[], Awaitable[None]]]:
    async def restart() -> None:
        await supervisor.kill(name)
        await supervisor.start_again(name)

    async def send(number: signal.Signals) -> None:
        supervisor.signal(name, number)

    async def nothing() -> None:
        return

    return {
        "kill": lambda: supervisor.kill(name),
        "start": lambda: supervisor.start_again(name),
        "restart": restart,
        "pause": lambda: send(signal.SIGSTOP),
        "resume": lambda: send(signal.SIGCONT),
        "pids": nothing,
    }
