"""What the programs of an attempt leave in the store, and the job as it is told of with that."""

from dataclasses import dataclass

from selfie.artifacts.manifests import Manifest, ManifestRef
from selfie.artifacts.programs import Attempt
from selfie.artifacts.starts import count
from selfie.artifacts.store import Store
from selfie.kube.objects import Object
from selfie.training.cluster.standing import Seen, Standing, standing_of
from selfie.training.job import Job, published
from selfie.training.outcomes import Failure, Progress, read_failure, read_progress, told
from selfie.training.records import JobRecord


@dataclass(frozen=True)
class Left:
    """What is there of an attempt; ``starts`` counts its pods that have begun."""

    published: tuple[ManifestRef, Manifest] | None = None
    failure: Failure | None = None
    progress: Progress | None = None
    starts: int = 0


def left_by(store: Store, attempt: Attempt) -> Left:
    """As it is now."""
    path = attempt.path
    return Left(
        published=published(store, attempt.step),
        failure=read_failure(store, path),
        progress=read_progress(store, path),
        starts=count(store, path),
    )


def job_of(record: JobRecord, standing: Standing, left: Left, log: str = "") -> Job:
    """The job; ``log`` are the last lines of one that has failed."""
    return Job(
        record,
        standing.state,
        left.progress,
        left.published,
        reason=standing.reason,
        message=told(standing.failure, log) if standing.state == "failed" else standing.message,
        retryable=standing.retryable,
        starts=left.starts,
    )


def just_made(record: JobRecord, found: Object) -> Job:
    """A job whose Job was made a moment ago: it has no pod yet, and has left nothing."""
    return job_of(record, standing_of(Seen(record=record, now=record.changed_at, job=found)), Left())
