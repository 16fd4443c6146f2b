"""A store on Google Cloud Storage: the real client, against a toy of the server's JSON protocol.

The toy keeps objects in a dictionary and knows the one condition that matters,
``ifGenerationMatch=0``. Only the client's own behaviour is tested by it.
"""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from gcsfs.core import GCSFileSystem

from selfie.artifacts.digests import digest_bytes
from selfie.artifacts.object_files import ObjectFiles
from selfie.artifacts.store import Store
from selfie.errors import AlreadyExists, FailedPrecondition, NotFound, Unavailable


class Server(ThreadingHTTPServer):
    """Objects of the one bucket ``artifacts`` by key, and faults that a test sets."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.objects: dict[str, tuple[bytes, dict[str, Any]]] = {}
        self.lost_answers = 0
        self.ignores_conditions = False

    def insert(self, body: bytes, *, only_if_absent: bool) -> tuple[int, dict[str, Any]]:
        """Stores the object of a multipart body: three parts, of which two have a head."""
        _, described, rest = body.split(b"\n\n", 2)
        resource = json.loads(described.partition(b"\n--==0==")[0])
        data = rest.removesuffix(b"\n--==0==--")
        with self.lock:
            if only_if_absent and not self.ignores_conditions and resource["name"] in self.objects:
                return 412, {
                    "error": {"code": 412, "message": "At least one of the pre-conditions did not hold."}
                }
            resource.update(size=str(len(data)), generation="1", bucket="artifacts")
            self.objects[resource["name"]] = (data, resource)
            if self.lost_answers:
                self.lost_answers -= 1
                return 503, {"error": {"code": 503, "message": "Try again."}}
        return 200, resource


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.startswith("/upload/storage/v1/b/artifacts/"):
            query = parse_qs(urlsplit(self.path).query)
            self.answer(*self.server.insert(body, only_if_absent=query.get("ifGenerationMatch") == ["0"]))
        else:
            self.answer(404, {})

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        place, _, key = parts.path.partition("/b/artifacts/o")
        query, found = parse_qs(parts.query), self.server.objects.get(unquote(key[1:]))
        if "/b/artifacts/" not in parts.path and not parts.path.endswith("/b/artifacts/o"):
            self.answer(404, {})
        elif not key:
            prefix = query.get("prefix", [""])[0]
            items = [r for name, (_, r) in sorted(self.server.objects.items()) if name.startswith(prefix)]
            self.answer(200, {"items": items})
        elif found is None:
            self.answer(404, {})
        else:
            self.answer(200, found[0] if place.startswith("/download") else found[1])

    def do_DELETE(self) -> None:
        key = unquote(urlsplit(self.path).path.partition("/b/artifacts/o/")[2])
        self.answer(204 if self.server.objects.pop(key, None) else 404, {})

    def answer(self, status: int, content: bytes | dict[str, Any]) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        body = b"" if status == 204 else body
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """The tests' output is no access log."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def open_bucket(server: Server, bucket: str) -> Store:
    """As `open_store` does, but without the client's search for zonal buckets, which leaves this machine."""
    filesystem = GCSFileSystem(
        endpoint_url=f"http://127.0.0.1:{server.server_port}",
        token="anon",
        use_listings_cache=False,
        skip_instance_cache=True,
    )
    return Store(f"gs://{bucket}/run", ObjectFiles(filesystem, f"{bucket}/run", metadata_argument="metadata"))


@pytest.fixture
def store(server: Server) -> Store:
    return open_bucket(server, "artifacts")


def test_files_are_written_read_replaced_listed_and_deleted(store: Store, tmp_path: Path) -> None:
    assert store.list("") == []
    for path in ("rounds/1/a", "rounds/10/b", "rounds/1/c/d"):
        store.write(path, b"first")
    store.write("rounds/1/a", b"second")
    assert store.read("rounds/1/a") == b"second"
    assert store.digest("rounds/1/a") == digest_bytes(b"second")
    assert store.exists("rounds/1/a")
    assert not store.exists("rounds/1")
    assert store.list("rounds/1") == ["rounds/1/a", "rounds/1/c/d"]
    assert store.sizes("rounds/1") == {"rounds/1/a": 6, "rounds/1/c/d": 5}
    assert store.list("rounds/1/a") == ["rounds/1/a"]
    assert store.download("rounds/1/a", tmp_path / "a") == digest_bytes(b"second")
    assert store.upload(tmp_path / "a", "again") == digest_bytes(b"second")
    store.delete("rounds/1")
    assert store.list("") == ["again", "rounds/10/b"]
    with pytest.raises(NotFound):
        store.read("rounds/1/a")


def test_a_second_creation_fails_and_changes_nothing(store: Store) -> None:
    store.probe_exclusive_create()
    store.create("manifest.json", b"first")
    with pytest.raises(AlreadyExists, match=r"manifest\.json"):
        store.create("manifest.json", b"second")
    assert store.read("manifest.json") == b"first"
    assert store.list("") == ["manifest.json"]


def test_a_creation_whose_answer_was_lost_is_known_as_its_own(store: Store, server: Server) -> None:
    server.lost_answers = 1
    store.create("manifest.json", b"first")
    assert server.lost_answers == 0
    with pytest.raises(AlreadyExists):
        store.create("manifest.json", b"first")


def test_the_probe_refuses_a_server_that_ignores_the_condition(store: Store, server: Server) -> None:
    server.ignores_conditions = True
    with pytest.raises(FailedPrecondition, match="two writers could both publish"):
        store.probe_exclusive_create()
    assert server.objects == {}


def test_a_bucket_that_is_not_there_is_unavailable_with_a_remedy(server: Server) -> None:
    store = open_bucket(server, "no-such-bucket")
    for act in (lambda: store.write("a", b""), lambda: store.create("a", b""), lambda: store.list("")):
        with pytest.raises(Unavailable, match="create the bucket or correct the URI"):
            act()
