"""What is left of a job that ended without a word: why it did, and the end of its log, put into its attempt.

A pod that took too much memory, or whose node is gone, could write neither. Once both are there, the
Job has nothing more to say.
"""

from selfie.artifacts.store import Store
from selfie.errors import SelfieError
from selfie.kube.api import Api
from selfie.training.job import LOG_LINES
from selfie.training.logs import LOG_BYTES, LOG_FILE
from selfie.training.outcomes import Failure, write_failure

_KEPT_LINES = 2000


async def last_words(api: Api, *, pod: str | None, namespace: str, container: str) -> str:
    """The end of a pod's log as Kubernetes has it; empty if it can't be had any more."""
    if pod is None:
        return ""
    try:
        return await api.log(pod, namespace=namespace, container=container, lines=_KEPT_LINES)
    except SelfieError:
        return ""


def keep(store: Store, attempt_path: str, failure: Failure, log: str) -> None:
    """Records the failure; the log takes the place of an upload that stopped before it."""
    if log and not _has_the_end_of(store, attempt_path, log):
        store.write(f"{attempt_path}/{LOG_FILE}", log.encode()[-LOG_BYTES:])
    write_failure(store, attempt_path, failure)


def quoted_log(store: Store, attempt_path: str) -> str:
    """The last lines of the attempt's log; empty without one."""
    try:
        data = store.read(f"{attempt_path}/{LOG_FILE}")
    except SelfieError:
        return ""
    return "\n".join(data.decode(errors="replace").splitlines()[-LOG_LINES:])


def _has_the_end_of(store: Store, attempt_path: str, log: str) -> bool:
    return quoted_log(store, attempt_path).endswith(log.rstrip().rpartition("\n")[2])
