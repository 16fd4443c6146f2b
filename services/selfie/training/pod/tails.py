"""The end of a log, kept in the store: what a Failed message quotes once the pod is gone."""

import threading

import structlog

from selfie.artifacts.store import Store
from selfie.errors import NotFound, SelfieError
from selfie.training.logs import LOG_BYTES

log = structlog.get_logger()


class Tail:
    """The last `LOG_BYTES` of what was written, after what earlier starts have left there."""

    def __init__(self, store: Store, path: str, heading: str) -> None:
        self._store = store
        self._path = path
        self._kept = bytearray()
        self._changed = False
        self._lock = threading.Lock()
        try:
            self._kept += store.read(path)
            self.write(f"--- {heading}\n".encode())
        except NotFound:
            return

    def write(self, data: bytes) -> None:
        """Adds to the log."""
        with self._lock:
            self._kept += data
            del self._kept[:-LOG_BYTES]
            self._changed = True

    def upload(self) -> None:
        """Puts the end of the log into the store; one that is away for a moment gets it at the next try."""
        with self._lock:
            if not self._changed:
                return
            data, self._changed = bytes(self._kept), False
        try:
            self._store.write(self._path, data)
        except SelfieError as error:
            self._changed = True
            log.warning("the log could not be stored", error=str(error))
