"""Tokens for callers from outside the cluster: one file each, named after who has it.

The files of a mounted Secret. One that is added is good and one that is removed is refused as soon
as the kubelet has brought the change, without a restart.
"""

import hmac
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from selfie.errors import Unavailable

_LOOK_EVERY_S = 1.0


class ApiTokens:
    """The tokens in a directory, read again when they were last looked at a second ago."""

    def __init__(self, directory: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._directory = directory
        self._clock = clock
        self._read_at = float("-inf")
        self._tokens: Mapping[str, bytes] = {}

    def name_of(self, token: str) -> str | None:
        """Name of the file that holds this token; None if none does. `Unavailable` without a directory."""
        if self._clock() - self._read_at > _LOOK_EVERY_S:
            self._tokens = self._read()
            self._read_at = self._clock()
        shown = token.encode()
        # All are compared, each in constant time: how long it takes tells nothing of any of them.
        found = [name for name, known in self._tokens.items() if hmac.compare_digest(known, shown)]
        return found[0] if found else None

    def _read(self) -> Mapping[str, bytes]:
        try:
            # What begins with a dot are the kubelet's own links beside the Secret's keys.
            files = [path for path in sorted(self._directory.iterdir()) if not path.name.startswith(".")]
            found = {path.name: path.read_bytes().strip() for path in files if path.is_file()}
        except OSError as error:
            raise Unavailable(f"{self._directory}: the API tokens can't be read: {error}") from error
        return {name: token for name, token in found.items() if token}
