"""A DNS server whose one name comes and goes, as that of a headless Service does with its ready pods."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

_A_RECORD = 1


class NamesServer(asyncio.DatagramProtocol):
    """Answers every question for an IPv4 address with ``address``, and with NXDOMAIN while there is none."""

    def __init__(self) -> None:
        self.address = ""
        self.port = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Before Python 3.12 the one that it is does not say that it is one.
        self._transport = cast("asyncio.DatagramTransport", transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        # The question: labels up to an empty one, then type and class.
        end = data.index(b"\0", 12) + 5
        question = data[12:end]
        wants_address = struct.unpack("!H", question[-4:-2])[0] == _A_RECORD
        answers = int(bool(self.address) and wants_address)
        flags = 0x8180 if self.address else 0x8183
        head = data[:2] + struct.pack("!HHHHH", flags, 1, answers, 0, 0)
        record = struct.pack(
            "!HHHIH4s", 0xC00C, _A_RECORD, 1, 1, 4, socket.inet_aton(self.address or "0.0.0.0")
        )
        self._transport.sendto(head + question + record * answers, addr)


@asynccontextmanager
async def names_server() -> AsyncIterator[NamesServer]:
    """The server, on a free port of 127.0.0.1."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(NamesServer, local_addr=("127.0.0.1", 0))
    try:
        yield server
    finally:
        transport.close()
