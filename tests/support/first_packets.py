"""``python first_packets.py``: prints each TCP connection that is asked for here, once.

As JSON, ``[from, to, port]``. It reads the first packets off all interfaces of its network namespace, so
that it sees what pods on a bridge say to each other, however short; the kernel's filter spares it all
other packets.
"""

import ctypes
import json
import socket
import struct
import sys

# Not those of IPv4 alone: a bridge takes its packets away before they are sorted by protocol.
_ETH_P_ALL = 0x0003
_SO_ATTACH_FILTER = 26
# The packet is IPv4 and carries TCP (protocol 6), and of the flags SYN and ACK the first is set alone.
_SYN = [
    (0x30, 0, 0, 0),
    (0x54, 0, 0, 0xF0),
    (0x15, 0, 7, 0x40),
    (0x30, 0, 0, 9),
    (0x15, 0, 5, 6),
    (0xB1, 0, 0, 0),
    (0x50, 0, 0, 13),
    (0x54, 0, 0, 0x12),
    (0x15, 0, 1, 0x02),
    (0x06, 0, 0, 0xFFFF),
    (0x06, 0, 0, 0),
]


def opened() -> socket.socket:
    """A socket that gets first packets, from their IP header on."""
    found = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in _SYN))
    found.setsockopt(
        socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", len(_SYN), ctypes.addressof(program))
    )
    return found


def connection(packet: bytes) -> tuple[str, str, int]:
    """Who asks whom, at which port."""
    head = (packet[0] & 0x0F) * 4
    (port,) = struct.unpack_from("!H", packet, head + 2)
    return socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20]), port


def main() -> None:
    """Goes on until it is ended."""
    seen = set()
    packets = opened()
    while True:
        found = connection(packets.recv(256))
        if found not in seen:
            seen.add(found)
            sys.stdout.write(f"{json.dumps(found)}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
