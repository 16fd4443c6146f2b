"""``python object_server.py PORT BUCKET``: a server of S3's protocol with one empty bucket, in memory."""

import logging
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server
from werkzeug.test import Client

Start = Callable[..., Any]


class OneAtATime:
    """S3 decides on each PUT at once; this server looks first and writes then."""

    def __init__(self, application: Callable[[dict[str, Any], Start], Iterable[bytes]]) -> None:
        self._application = application
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        with self._lock:
            return [b"".join(self._application(environ, start_response))]


def main() -> None:
    """Serves until it is ended."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    port, bucket = int(sys.argv[1]), sys.argv[2]
    application = OneAtATime(DomainDispatcherApplication(create_backend_app))
    made = Client(application).put(f"/{bucket}")
    if made.status_code != 200:
        sys.exit(f"the bucket {bucket} was not made: {made.text}")
    make_server("0.0.0.0", port, application, threaded=True).serve_forever()


if __name__ == "__main__":
    main()
