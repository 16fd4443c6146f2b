"""The page of a kubelet from which the API server takes containers' logs."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


@contextmanager
def log_server(
    read: Callable[[str, str], list[str] | None], *, certificate: Path, key: Path
) -> Iterator[int]:
    """Serves the lines that ``read(namespace, pod)`` knows, on the port of loopback that it yields.

    All containers of a pod share them.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            kind, namespace, pod, _ = asked.path.strip("/").split("/")
            lines = read(namespace, pod) if kind == "containerLogs" else None
            if lines is None:
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            (count,) = parse_qs(asked.query).get("tailLines", [str(len(lines))])
            kept = lines[max(0, len(lines) - int(count)) :]
            self.send_response(HTTPStatus.OK)
            self.end_headers()
            self.wfile.write("".join(f"{line}\n" for line in kept).encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        # Each handshake in the thread of its own request.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
