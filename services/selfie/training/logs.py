"""Where the end of a program's log is kept, and how much of it."""

from typing import Final

LOG_FILE: Final = "log.txt"
LOG_BYTES: Final = 64 * 1024
"""Most of a log that a pod puts into the store; a process writes all of it to the disk it has."""


def log_file(node: int) -> str:
    """The log of one of the nodes that work together; the first one's is the attempt's own."""
    return LOG_FILE if node == 0 else f"log-{node}.txt"
