"""What the outside raises, as the errors of Selfie."""

import errno
import os
import uuid
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from prometheus_client import REGISTRY

from selfie.artifacts.failures import translated
from selfie.artifacts.object_files import ObjectFiles
from selfie.artifacts.store import Store, open_store
from selfie.errors import AlreadyExists, FailedPrecondition, NotFound, SelfieError, Unavailable


class AnswerError(Exception):
    """As botocore's ClientError: holds what the store answered."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.response = {"Error": {"Code": code}}


AnswerError.__module__ = "botocore.exceptions"


def raised_for(error: Exception, *, missing: type[SelfieError] = NotFound) -> SelfieError:
    with pytest.raises(SelfieError) as caught, translated("s3://bucket/run/file", missing=missing):
        raise error
    assert caught.value.__cause__ is error
    return caught.value


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "free space"),
        (OSError(errno.EROFS, os.strerror(errno.EROFS)), "mount it writable"),
        (OSError(errno.EACCES, os.strerror(errno.EACCES)), "give the user of this process the right"),
        (PermissionError("Access Denied"), "give these credentials the right"),
        (OSError("Forbidden: https://storage"), "give these credentials the right"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), "can be reached"),
        (TimeoutError(), "can be reached"),
        (AnswerError("NoSuchBucket"), "create the bucket"),
        (AnswerError("SlowDown"), "try again"),
    ],
)
def test_a_failing_store_is_unavailable_and_the_message_names_it_and_a_remedy(
    error: Exception, remedy: str
) -> None:
    ours = raised_for(error)
    assert isinstance(ours, Unavailable)
    assert "s3://bucket/run/file" in str(ours)
    assert remedy in str(ours)


def test_what_is_missing_is_not_found_to_a_reader_and_unavailable_to_a_writer() -> None:
    assert isinstance(raised_for(FileNotFoundError("file")), NotFound)
    assert isinstance(raised_for(FileNotFoundError("file"), missing=Unavailable), Unavailable)


def test_a_missing_bucket_is_unavailable_to_a_reader_too() -> None:
    error = FileNotFoundError("The specified bucket does not exist")
    error.__cause__ = AnswerError("NoSuchBucket")
    with pytest.raises(Unavailable, match="create the bucket"), translated("s3://b/file", missing=NotFound):
        raise error


def test_a_bug_stays_a_bug() -> None:
    with pytest.raises(TypeError), translated("s3://bucket/run/file", missing=NotFound):
        raise TypeError("mine")


class Forgetful(MemoryFileSystem):  # type: ignore[misc]
    """A store that ignores the condition, as some servers of S3's protocol do."""

    cachable = False

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        super().pipe_file(path, value, mode="overwrite")


class Conditionless(MemoryFileSystem):  # type: ignore[misc]
    """A store that knows no condition and says so."""

    cachable = False

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        raise NotImplementedError("mode")


class Terse(MemoryFileSystem):  # type: ignore[misc]
    """Says what went wrong only in the answer behind the error, as s3fs does for most servers."""

    cachable = False

    def __init__(self, *codes: str) -> None:
        super().__init__(global_store=False)
        self.codes = list(codes)

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any) -> None:
        if mode == "create" and self.codes:
            raise OSError(errno.EINVAL, "no") from AnswerError(self.codes.pop(0))
        super().pipe_file(path, value, mode=mode)


def test_the_probe_accepts_a_store_that_creates_exclusively() -> None:
    store = Store("memory://run", ObjectFiles(MemoryFileSystem(global_store=False), "run"))
    store.probe_exclusive_create()
    assert store.list("") == []


def test_the_probe_refuses_a_store_that_ignores_the_condition_and_leaves_nothing() -> None:
    filesystem = Forgetful(global_store=False)
    with pytest.raises(FailedPrecondition, match="two writers could both publish") as refused:
        Store("memory://run", ObjectFiles(filesystem, "run")).probe_exclusive_create()
    assert refused.value.reason == "ExclusiveCreateUnsupported"
    assert filesystem.find("/") == []


def test_the_probe_refuses_a_store_that_knows_no_condition() -> None:
    with pytest.raises(FailedPrecondition) as refused:
        Store("memory://run", ObjectFiles(Conditionless(global_store=False), "run")).probe_exclusive_create()
    assert refused.value.reason == "ExclusiveCreateUnsupported"


def test_a_precondition_that_failed_means_taken_however_the_client_says_it() -> None:
    with pytest.raises(AlreadyExists):
        Store("memory://run", ObjectFiles(Terse("PreconditionFailed"), "run")).create("a", b"")


def test_a_creation_that_met_another_one_is_tried_again() -> None:
    store = Store("memory://run", ObjectFiles(Terse("ConditionalRequestConflict"), "run"))
    store.create("a", b"mine")
    assert store.read("a") == b"mine"


def test_prometheus_is_told_of_what_a_store_does_wrong_and_of_nothing_else():
    def counted() -> float:
        labels = {"scheme": "s3", "reason": "Unavailable"}
        return REGISTRY.get_sample_value("selfie_store_errors_total", labels) or 0.0

    before = counted()
    for error in (FileNotFoundError("x"), FileExistsError("x")):
        with pytest.raises(SelfieError), translated("s3://bucket/x", missing=NotFound):
            raise error
    assert counted() == before
    with pytest.raises(Unavailable), translated("s3://bucket/x", missing=NotFound):
        raise ConnectionResetError("gone")
    assert counted() == before + 1


@pytest.mark.parametrize("uri", ["file:///dev/null/runs", "file:///proc/1/runs"])
def test_a_probe_that_fails_says_the_same_each_time(uri: str):
    """Who writes it into a status, and looks again when that has changed, would never stop."""
    said = set()
    for _ in range(2):
        with pytest.raises(Unavailable) as caught:
            open_store(uri).probe_exclusive_create()
        said.add(str(caught.value))
    assert len(said) == 1
    assert said.pop().startswith(f"{uri}: ")


def test_names_that_are_made_up_are_not_told():
    with pytest.raises(Unavailable) as caught, translated("s3://bucket/x", missing=Unavailable):
        raise OSError(f"no space for .selfie-{uuid.uuid4().hex}")
    assert "no space for .selfie-…;" in str(caught.value)
