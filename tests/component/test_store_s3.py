"""A store on S3, against a real server of its protocol on this machine.

In front of the server stands a small proxy that makes it behave as real ones do at their
worst: it loses answers, reports conflicts, leaves words out, or ignores the condition.
"""

import logging
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from selfie.artifacts.digests import digest_bytes
from selfie.artifacts.manifests import FileEntry, Manifest, publish, read_ref, verify
from selfie.artifacts.operations import OperationRecord, create_record, read_record
from selfie.artifacts.rows import SAMPLE_SCHEMA
from selfie.artifacts.shards import read_group, read_shard, write_shard
from selfie.artifacts.store import Store, open_store
from selfie.artifacts.weights import add_directory, pull
from selfie.errors import AlreadyExists, DataCorrupted, FailedPrecondition, NotFound, Unavailable

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
CONFLICT = b"<Error><Code>ConditionalRequestConflict</Code><Message>Try again.</Message></Error>"
CONDITION = b"<Condition>If-None-Match</Condition>"
FAILED = b"<Error><Code>InternalError</Code><Message>Try again.</Message></Error>"


class Proxy:
    """The server as a WSGI application, with faults that a test sets and that are used up."""

    def __init__(self, server: Callable[..., Iterable[bytes]]) -> None:
        self.server = server
        self.lock = threading.Lock()
        self.requests: Counter[str] = Counter()
        self.reset()

    def reset(self) -> None:
        self.requests.clear()
        self.lost_answers = 0
        self.conflicts = 0
        self.ignores_conditions = False
        self.hides_conditions = False

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        # S3 decides on each PUT at once; this server looks first and writes then.
        with self.lock:
            return self.answer(environ, start_response)

    def answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        self.requests[environ["REQUEST_METHOD"]] += 1
        if self.ignores_conditions:
            environ.pop("HTTP_IF_NONE_MATCH", None)
        if self.conflicts and "HTTP_IF_NONE_MATCH" in environ:
            self.conflicts -= 1
            return refused(start_response, "409 Conflict", CONFLICT)
        if self.lost_answers and environ["REQUEST_METHOD"] == "PUT":
            self.lost_answers -= 1
            list(self.server(environ, lambda *_: None))
            return refused(start_response, "500 Internal Server Error", FAILED)
        body = b"".join(self.server(environ, start_response))
        if self.hides_conditions:
            return [body.replace(CONDITION, b" " * len(CONDITION))]
        return [body]


def refused(start_response: Callable[..., Any], status: str, body: bytes) -> list[bytes]:
    start_response(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [body]


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Proxy, str]]:
    """The proxy, and the address of what it stands in front of."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    proxy = Proxy(DomainDispatcherApplication(create_backend_app))
    serving = make_server("127.0.0.1", 0, proxy, threaded=True)
    thread = threading.Thread(target=serving.serve_forever, daemon=True)
    thread.start()
    yield proxy, f"http://127.0.0.1:{serving.server_port}"
    serving.shutdown()
    thread.join()
    serving.server_close()


@pytest.fixture
def proxy(server: tuple[Proxy, str]) -> Proxy:
    server[0].reset()
    return server[0]


@pytest.fixture
def options(server: tuple[Proxy, str]) -> dict[str, Any]:
    return {"endpoint_url": server[1], "key": "testing", "secret": "testing"}


@pytest.fixture(scope="module")
def bucket(server: tuple[Proxy, str]) -> str:
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=server[1],
        aws_access_key_id="testing",
        aws_secret_access_key="testing",
        region_name="us-east-1",
    )
    client.create_bucket(Bucket="artifacts")
    client.close()
    return "artifacts"


@pytest.fixture
def store(bucket: str, options: dict[str, Any], proxy: Proxy, request: pytest.FixtureRequest) -> Store:
    """An empty store: each test has a prefix of its own in the bucket."""
    prefix = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)
    return open_store(f"s3://{bucket}/runs/{prefix}", options=options)


def make_manifest(**fields: Any) -> Manifest:
    known: dict[str, Any] = {
        "run_uid": "uid-1",
        "round": 1,
        "step": "rounds/01/generate",
        "attempt": 1,
        "writer": "w1",
        "started_at": NOON,
        "finished_at": NOON,
    }
    return Manifest(**{**known, **fields})


def test_files_are_written_read_replaced_listed_and_deleted(store: Store) -> None:
    assert store.list("") == []
    for path in ("rounds/1/a", "rounds/10/b", "rounds/1/c/d"):
        store.write(path, b"first")
    store.write("rounds/1/a", b"second")
    assert store.read("rounds/1/a") == b"second"
    assert store.digest("rounds/1/a") == digest_bytes(b"second")
    assert store.exists("rounds/1/a")
    assert not store.exists("rounds/1")
    assert not store.exists("rounds/1/x")
    assert store.list("rounds/1") == ["rounds/1/a", "rounds/1/c/d"]
    assert store.list("rounds/1/a") == ["rounds/1/a"]
    assert store.sizes("rounds/1") == {"rounds/1/a": 6, "rounds/1/c/d": 5}
    assert store.local_path("rounds/1/a") is None
    store.delete("rounds/1")
    store.delete("rounds/1")
    assert store.list("") == ["rounds/10/b"]
    with pytest.raises(NotFound, match="rounds/1/a does not exist"):
        store.read("rounds/1/a")


def test_a_new_file_is_seen_at_once_by_a_store_that_has_looked_before(
    store: Store, options: dict[str, Any]
) -> None:
    other = open_store(store.uri, options=options)
    assert other.list("") == []
    assert not other.exists("rounds/a")
    store.write("rounds/a", b"1")
    assert other.list("") == ["rounds/a"]
    assert other.exists("rounds/a")
    store.write("rounds/a", b"longer than before")
    assert other.read("rounds/a") == b"longer than before"


def test_the_probe_accepts_the_server_and_leaves_nothing(store: Store) -> None:
    store.probe_exclusive_create()
    assert store.list("") == []


def test_the_probe_refuses_a_server_that_ignores_the_condition(store: Store, proxy: Proxy) -> None:
    proxy.ignores_conditions = True
    with pytest.raises(FailedPrecondition, match="two writers could both publish") as refusal:
        store.probe_exclusive_create()
    assert refusal.value.reason == "ExclusiveCreateUnsupported"


@pytest.mark.parametrize("hides", [False, True])
def test_a_second_creation_fails_and_changes_nothing(store: Store, proxy: Proxy, hides: bool) -> None:
    proxy.hides_conditions = hides
    store.create("manifest.json", b"first")
    with pytest.raises(AlreadyExists, match=r"manifest\.json"):
        store.create("manifest.json", b"second")
    assert store.read("manifest.json") == b"first"


def test_a_creation_whose_answer_was_lost_is_known_as_its_own(store: Store, proxy: Proxy) -> None:
    proxy.lost_answers = 1
    store.create("manifest.json", b"first")
    assert proxy.lost_answers == 0
    assert proxy.requests["PUT"] == 2
    with pytest.raises(AlreadyExists):
        store.create("manifest.json", b"first")


def test_a_creation_that_met_another_one_is_tried_again(store: Store, proxy: Proxy) -> None:
    proxy.conflicts = 2
    store.create("manifest.json", b"first")
    assert store.read("manifest.json") == b"first"


def test_of_many_creators_one_wins(store: Store) -> None:
    together = threading.Barrier(8)

    def create(number: int) -> int:
        together.wait()
        try:
            store.create("record", bytes([number]))
        except AlreadyExists:
            return 0
        return 1

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(create, range(8))) == 1


def test_of_racing_publishers_all_get_the_reference_to_the_one_that_won(store: Store) -> None:
    manifests = [make_manifest(attempt=number, writer=f"w{number}") for number in range(1, 9)]
    with ThreadPoolExecutor(8) as threads:
        refs = set(threads.map(lambda manifest: publish(store, manifest), manifests))
    assert len(refs) == 1
    assert read_ref(store, refs.pop()) in manifests


def test_shards_come_back_and_damage_to_them_is_named(store: Store) -> None:
    row = {
        "prompt_id": "p1",
        "messages": [{"role": "user", "content": "Hello?"}],
        "prompt_ids": [1, 2, 3],
        "prompt_digest": "d",
        "truncated": False,
        "source": None,
        "sample_index": 0,
        "seed": 2**64 - 1,
        "response_text": "Hello!",
        "response_ids": [4, 5],
        "ids_from": "engine",
        "finish_reason": "stop",
        "policy_digest": "e",
        "engine": "embedded 1",
    }
    table = pa.Table.from_pylist([row] * 5, schema=SAMPLE_SCHEMA)
    entries = tuple(
        write_shard(
            store,
            f"a1/samples-{i:05d}-w1.parquet",
            table,
            schema=SAMPLE_SCHEMA,
            group="samples",
            name=f"{i:05d}",
        )
        for i in range(2)
    )
    manifest = make_manifest(files=entries)
    verify(store, manifest)
    assert read_group(store, manifest, "samples").to_pylist() == [row] * 10
    store.write(entries[1].path, store.read(entries[1].path)[:-1])
    for act in (lambda: read_shard(store, entries[1]), lambda: verify(store, manifest)):
        with pytest.raises(DataCorrupted, match=r"samples-00001-w1\.parquet"):
            act()


def test_a_checkpoint_goes_in_and_comes_out_verified(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "checkpoint"
    source.mkdir()
    (source / "config.json").write_bytes(b"{}")
    (source / "model.safetensors").write_bytes(bytes(range(256)) * 4096)
    entries: tuple[FileEntry, ...] = add_directory(store, source, group="checkpoint", path="a1/checkpoint")
    pulled = pull(store, entries, tmp_path / "cache")
    for file in source.iterdir():
        assert (pulled / file.name).read_bytes() == file.read_bytes()
    store.write(entries[0].path, b"[]")
    with pytest.raises(DataCorrupted, match=r"config\.json"):
        pull(store, entries, tmp_path / "another")
    assert list((tmp_path / "another").iterdir()) == []
    with pytest.raises(NotFound):
        store.download("a1/absent", tmp_path / "absent")


def test_an_operations_record_is_created_once(store: Store) -> None:
    record = OperationRecord(
        request_id="r",
        method="m",
        request="",
        run_uid="uid-1",
        state="running",
        owner="w1",
        heartbeat_at=NOON,
        started_at=NOON,
    )
    create_record(store, "prepare", 1, record)
    with pytest.raises(AlreadyExists):
        create_record(store, "prepare", 1, record)
    assert read_record(store, "prepare", 1) == record


def test_a_bucket_that_is_not_there_is_unavailable_with_a_remedy(
    proxy: Proxy, options: dict[str, Any]
) -> None:
    store = open_store("s3://no-such-bucket/run", options=options)
    for act in (
        lambda: store.read("a"),
        lambda: store.exists("a"),
        lambda: store.write("a", b""),
        lambda: store.create("a", b""),
        lambda: store.list(""),
        store.probe_exclusive_create,
    ):
        with pytest.raises(Unavailable, match="create the bucket or correct the URI") as failed:
            act()
        assert "s3://no-such-bucket/run" in str(failed.value)


def test_place_and_credentials_come_from_the_standard_environment_too(
    store: Store, options: dict[str, Any]
) -> None:
    environment = {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "AWS_ENDPOINT_URL": options["endpoint_url"],
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
    }
    program = (
        "import sys; from selfie.artifacts.store import open_store; open_store(sys.argv[1]).create('a', b'1')"
    )
    subprocess.run([sys.executable, "-c", program, store.uri], env=environment, check=True, timeout=50)
    assert store.list("") == ["a"]


def test_a_server_that_is_down_is_unavailable_with_a_remedy(options: dict[str, Any]) -> None:
    impatient = {"retries": {"max_attempts": 0}, "connect_timeout": 2}
    down = {**options, "endpoint_url": "http://127.0.0.1:9", "config_kwargs": impatient}
    with pytest.raises(Unavailable, match="can be reached from here"):
        open_store("s3://artifacts/run", options=down).read("a")
