"""From this machine's loopback into a node's network, without a route between the two.

A socket belongs to the network namespace in which it was made, whoever uses it later: the warden
listens outside, and the keeper, inside, accepts there and connects here.
"""

import asyncio
import socket
from contextlib import suppress


async def forward(listener: socket.socket, target: tuple[str, int]) -> asyncio.Server:
    """Passes each connection on to ``target``, byte by byte; TLS goes through untouched."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(*target)
        except OSError:
            # The API server was killed: whoever asks must see a connection that breaks.
            writer.transport.abort()
            return
        await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))

    listener.setblocking(False)
    return await asyncio.start_server(accept, sock=listener)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    # Half closed first would be kinder, but TLS has its own goodbye.
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
