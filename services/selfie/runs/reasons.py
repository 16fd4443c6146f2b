"""Reasons of conditions: one word for machines that says why a run is as it is.

Clients may rely on them: a reason is never renamed, and what it means never changes.
"""

import re

# A stage is being worked on.
ADOPTING = "Adopting"
PREPARING = "Preparing"
SEEDING = "Seeding"
PUBLISHING = "Publishing"
SERVING = "Serving"
EVALUATING = "Evaluating"
GENERATING = "Generating"
SCORING = "Scoring"
FILTERING = "Filtering"
TRAINING = "Training"

# The run is active and waits for something of its own.
PENDING = "Pending"
"""Nobody has looked at the run yet."""
BACKING_OFF = "BackingOff"
"""An attempt failed in a way that may pass; the next one follows after a pause."""
WAITING_FOR_SERVICES = "WaitingForServices"
"""A service that the step needs is starting, or loads other weights."""
WAITING_FOR_ACCELERATOR = "WaitingForAccelerator"
"""With `gpu: shared`: what held the accelerator before has not yet let go of it."""
MANIFEST_NOT_YET_SEEN = "ManifestNotYetSeen"
"""The work says that it succeeded, and its manifest has not been seen yet."""
QUEUED = "Queued"
"""A queue has not admitted the run, or its job; this time does not count for deadlines."""

# The run waits for the outside, and goes on by itself once that is mended (Stalled).
WAITING_FOR_CAPACITY = "WaitingForCapacity"
"""No node can take the pods; this time does not count for deadlines."""
IMAGE_CANNOT_BE_PULLED = "ImageCannotBePulled"
CRASH_LOOPING = "CrashLooping"
"""A container ends again and again; the message has what it said last."""
POD_CANNOT_START = "PodCannotStart"
"""A container cannot be made: a Secret or a volume that it names is not there."""
POD_REFUSED = "PodRefused"
"""Quota, admission or permissions refuse the pods, or what makes them."""
NAME_TAKEN = "NameTaken"
"""An object that the run has to make is there already, and belongs to somebody else."""
STORE_UNAVAILABLE = "StoreUnavailable"
"""The artifact store cannot be reached, so nothing is known, and nothing is done."""

# The user asked for it.
SUSPENDED = "Suspended"
CANCELLED = "Cancelled"

# The end.
COMPLETED = "Completed"
GATE_BREACHED = "GateBreached"
"""Complete before the last round, because a gate was crossed and `onBreach` is `stop`."""
STEP_FAILED = "StepFailed"
"""The work failed in a way that no further attempt can mend."""
RETRIES_EXHAUSTED = "RetriesExhausted"
RUN_DEADLINE_EXCEEDED = "RunDeadlineExceeded"
STAGE_DEADLINE_EXCEEDED = "StageDeadlineExceeded"
INPUTS_INCOMPLETE = "InputsIncomplete"
"""A published manifest lacks what the next step must read; the store was changed by hand."""
MANIFEST_MISSING = "ManifestMissing"
"""The work succeeded and published no manifest: counted as a failed attempt."""

# Conditions that are as they should be.
STORE_READY = "StoreReady"
NOT_SUSPENDED = "NotSuspended"
NOT_STALLED = "NotStalled"
NOT_FAILED = "NotFailed"

OF_STAGE = {
    "adopt": ADOPTING,
    "prepare": PREPARING,
    "seed": SEEDING,
    "publish": PUBLISHING,
    "serve": SERVING,
    "evaluate": EVALUATING,
    "generate": GENERATING,
    "score": SCORING,
    "filter": FILTERING,
    "train": TRAINING,
}

STALLING = frozenset(
    {
        WAITING_FOR_CAPACITY,
        IMAGE_CANNOT_BE_PULLED,
        CRASH_LOOPING,
        POD_CANNOT_START,
        POD_REFUSED,
        NAME_TAKEN,
    }
)
"""Of work or of a service: it cannot begin before something outside is mended."""

STOP_THE_CLOCK = frozenset({SUSPENDED, QUEUED, WAITING_FOR_CAPACITY})
"""While one of these holds, deadlines do not run."""


def well_formed(reason: str, *, otherwise: str) -> str:
    """The reason, if a condition may hold it; else the other one."""
    return reason if re.fullmatch(r"[A-Za-z][A-Za-z0-9]{0,127}", reason) else otherwise
