"""Servers of others, the real ones, as processes of their own."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import httpx2

from cluster.ports import free_ports
from selfie.generation.engines import Policy
from selfie.generation.fleet.checks import PromptChecks
from selfie.generation.fleet.discovery import Discovery
from selfie.generation.fleet.engine import FleetEngine
from selfie.generation.fleet.members import Fleet
from selfie.generation.http.clients import Access
from selfie.generation.openai.server import OpenAIServer
from selfie.models.chat import ChatTokenizer
from waiting import until


@contextmanager
def serving(command: Callable[[int], Sequence[str]], *, seconds: float = 300) -> Iterator[str]:
    """The address of a server that is started with a free port, once it says that it is well."""
    [port] = free_ports(1)
    process = subprocess.Popen(
        list(command(port)), env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_until_well(process, address, seconds)
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_well(process: "subprocess.Popen[bytes]", address: str, seconds: float) -> None:
    def is_well() -> bool:
        assert process.poll() is None, f"it has ended with {process.returncode}"
        try:
            return httpx2.get(f"{address}/health").is_success
        except httpx2.HTTPError:
            return False

    until(is_well, seconds=seconds)


def engine_through(
    address: str, digest: str, tokenizer: ChatTokenizer, *, model: str = ""
) -> tuple[Fleet, FleetEngine]:
    """An engine of the policy with this digest behind the server; the fleet is to be closed."""
    fleet = Fleet(Discovery(address), lambda where: OpenAIServer(where, Access(), model=model, permits=1))
    return fleet, FleetEngine(fleet, Policy(digest, tokenizer), PromptChecks())
