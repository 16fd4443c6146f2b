"""Ports on loopback for a cluster."""

import random
import socket
from typing import Final

# Below the range from which the kernel takes ports for outgoing connections: a component that was
# killed must find its port free when it comes back.
_FIRST, _LAST = 20_000, 32_000
_TRIES: Final = 200


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now. Whoever is faster gets them; a start that fails is tried again."""
    chosen: list[int] = []
    for _ in range(_TRIES):
        port = random.randrange(_FIRST, _LAST)
        if port not in chosen and _is_free(port):
            chosen.append(port)
        if len(chosen) == count:
            return chosen
    raise OSError(f"found no {count} free ports between {_FIRST} and {_LAST}")


def _is_free(port: int) -> bool:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
