"""Turns what file systems and object stores raise into Selfie's errors.

The clients of object stores raise errors of their own, of botocore, aiohttp, Google's
libraries, or plain `OSError`s without a number. Here they become one of ours, with the store,
the path and a remedy in the message, and the original chained. Other errors, such as a
`TypeError` of our own making, pass unchanged: they are bugs and shall look like bugs.
"""

import errno
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from selfie.artifacts.metrics import count_error
from selfie.errors import AlreadyExists, FailedPrecondition, NotFound, SelfieError, Unavailable

# Packages whose errors mean that the outside failed, whatever class they have.
_CLIENT_PACKAGES = frozenset(
    {"aiobotocore", "aiohttp", "botocore", "fsspec", "gcsfs", "google", "requests", "s3fs", "urllib3"}
)
_UNSUPPORTED = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP})
_MISSING = (FileNotFoundError, IsADirectoryError, NotADirectoryError)

_REMEDIES_BY_NUMBER = {
    errno.ENOSPC: "free space there or enlarge it",
    errno.EDQUOT: "free space there or raise the quota",
    errno.EROFS: "mount it writable or choose another root",
    errno.EACCES: "give the user of this process the right to read and write there",
    errno.EPERM: "give the user of this process the right to read and write there",
    errno.ENOENT: "create the directory above it, or mount the volume",
    errno.ENOTDIR: "a file stands where a directory is needed: move it or choose another root",
}
_REMEDIES_BY_CODE = {
    "NoSuchBucket": "create the bucket or correct the URI",
    "InvalidAccessKeyId": "correct the access key",
    "SignatureDoesNotMatch": "correct the secret key",
    "ExpiredToken": "renew the credentials",
}
_REMEDIES_BY_CLASS = {
    "NoCredentialsError": "give credentials, as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or a role",
    "PartialCredentialsError": "give both AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "DefaultCredentialsError": "give credentials, as GOOGLE_APPLICATION_CREDENTIALS or a workload identity",
    "FileNotFoundError": "create the bucket or correct the URI",
    "PermissionError": "give these credentials the right to read, write, list and delete there",
}
_RANDOM = re.compile(r"[0-9a-f]{32}")
_OTHER_REMEDY = "check that the store is up and can be reached from here, then try again"


@contextmanager
def translated(place: str, *, missing: type[SelfieError]) -> Iterator[None]:
    """Raises Selfie's errors in place of the outside's.

    ``place`` is the full URI that is touched, and ``missing`` what it means that something is not
    there: `NotFound` to a reader; to a writer, whose directory or bucket it is, `Unavailable`.
    """
    try:
        yield
    except Exception as error:
        ours = _translate(error, place, missing)
        if ours is None:
            raise
        count_error(place, ours)
        raise ours from error


def service_code(error: BaseException | None) -> str:
    """The code in the store's own answer, such as ``NoSuchBucket``; empty when it gave none.

    s3fs chains botocore's error, whose answer it holds, to the `OSError` that it raises.
    """
    while error is not None:
        response = getattr(error, "response", None)
        if isinstance(response, Mapping):
            return str(response.get("Error", {}).get("Code", ""))
        error = error.__cause__
    return ""


def _translate(error: Exception, place: str, missing: type[SelfieError]) -> SelfieError | None:
    if isinstance(error, SelfieError) or not _is_of_the_outside(error):
        return None
    if isinstance(error, FileExistsError):
        return AlreadyExists(f"{place} is already there")
    if _is_unsupported(error):
        return FailedPrecondition(
            "ExclusiveCreateUnsupported",
            f"{place}: this store can't create a file only if it is absent ({_words(error)}); "
            "keep artifacts in a store that can",
        )
    if isinstance(error, _MISSING) and missing is NotFound and service_code(error) != "NoSuchBucket":
        return NotFound(f"{place} does not exist")
    return Unavailable(f"{place}: {_words(error)}; {_remedy(error)}")


def _is_of_the_outside(error: Exception) -> bool:
    package = type(error).__module__.partition(".")[0]
    return isinstance(error, OSError | NotImplementedError) or package in _CLIENT_PACKAGES


def _is_unsupported(error: Exception) -> bool:
    return isinstance(error, NotImplementedError) or getattr(error, "errno", None) in _UNSUPPORTED


def _words(error: Exception) -> str:
    """What the outside says, without our random names: the same failure has the same words each time."""
    return _RANDOM.sub("…", str(error)) or type(error).__name__


def _remedy(error: Exception) -> str:
    if (code := service_code(error)) in _REMEDIES_BY_CODE:
        return _REMEDIES_BY_CODE[code]
    number = getattr(error, "errno", None)
    if number in _REMEDIES_BY_NUMBER:
        return _REMEDIES_BY_NUMBER[number]
    # gcsfs answers 403 with a plain OSError.
    kind = "PermissionError" if str(error).startswith("Forbidden") else type(error).__name__
    return _REMEDIES_BY_CLASS.get(kind, _OTHER_REMEDY)
