"""Names of what belongs to a run on a cluster, all made from the run's name and its UID.

A run that is deleted and created again has another UID, so it never meets what the first one left.
"""

import hashlib

from selfie.errors import InvalidInput
from selfie.runs.steps import Step

MAX_NAME = 63
"""Longest name that is also a value of a label and a host name."""

CURRENT_WEIGHTS = "selfie-current"
"""Directory that an engine is started with which is moved where it stands: it names no weights."""

_MARK_DIGITS = 5
_INDEX_ROOM = 3
"""Where several nodes train together, the name of each one's pod ends in its number: ``-63``."""


def run_key(uid: str) -> str:
    """Ten hexadecimal digits that stand for the run's UID."""
    return hashlib.sha256(uid.encode()).hexdigest()[:10]


def run_mark(uid: str) -> str:
    """The first five of `run_key`, for names that begin with the run's own."""
    return run_key(uid)[:_MARK_DIGITS]


def engine_name(uid: str) -> str:
    """Deployment and Service of the run's engine."""
    return f"selfie-engine-{run_key(uid)}"


def scoring_name(uid: str) -> str:
    """Deployment and Service of the run's scoring workers."""
    return f"selfie-scoring-{run_key(uid)}"


def training_name(uid: str) -> str:
    """Service by which the pods of the run's training jobs find each other."""
    return f"selfie-training-{run_key(uid)}"


def frozen_name(run: str, uid: str) -> str:
    """ConfigMap of what was fixed when the run started."""
    return f"{run}-{run_mark(uid)}-frozen"


def job_name(run: str, uid: str, step: Step, attempt: int) -> str:
    """Job of one attempt: ``quickstart-1f0c3-r01-train-a1``; a long run name is cut to make it fit."""
    end = f"-{run_mark(uid)}-r{step.round:02d}-{step.name}-a{attempt}"
    return run[: MAX_NAME - _INDEX_ROOM - len(end)].rstrip("-") + end


def run_path(namespace: str, run: str, uid: str) -> str:
    """Where a run lies below the root of all artifacts of a cluster."""
    return f"{namespace}/{run}-{run_mark(uid)}"


def run_at(uri: str) -> tuple[str, str, str]:
    """Namespace, name and mark of the run that lies at ``uri``, as `run_path` put it there."""
    *_, namespace, folder = ("", *uri.rstrip("/").split("/"))
    run, _, mark = folder.rpartition("-")
    if not (namespace and run and len(mark) == _MARK_DIGITS):
        raise InvalidInput(
            "run_uri",
            f"{uri!r} is no run of a cluster",
            "end it in NAMESPACE/NAME-MARK, as the operator does",
        )
    return namespace, run, mark


def weights_label(*digests: str) -> str:
    """Value of a label that changes with any of the digests."""
    if len(digests) == 1:
        return digests[0].rpartition(":")[2][:MAX_NAME]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()[:MAX_NAME]
