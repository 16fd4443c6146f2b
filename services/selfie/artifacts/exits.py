"""What a program's exit status says: to its controller, and to Kubernetes, which starts pods again by it."""

import signal
from enum import IntEnum


class Exit(IntEnum):
    """Why a program ended. Any other status is that of a crash, which nobody had a word for."""

    DONE = 0
    """The step is published, by this start or by another."""

    CRASHED = 1
    """Python's own for an error that nobody took: nothing is recorded, another start may do better."""

    INVALID_INPUT = 2
    """What was asked for is wrong, and stays wrong: ``error.json`` says what. A wrong command line, too."""

    FAILED = 3
    """Any other failure; ``error.json`` says which, and whether another attempt can mend it."""

    SUPERSEDED = 4
    """A newer start of the same attempt is at work."""

    OUTDATED = 5
    """A newer attempt at the step has begun."""

    PEERS_LOST = 6
    """One of the others that train together is gone; what went wrong, that one knows."""

    KILLED = 128 + signal.SIGKILL
    TERMINATED = 128 + signal.SIGTERM
    """It was asked to stop, and has kept what it could."""


ENDS_THE_ATTEMPT = (Exit.INVALID_INPUT, Exit.FAILED, Exit.OUTDATED)
"""Another start of the same attempt would end the same way."""

NOT_ITS_FAULT = (Exit.SUPERSEDED, Exit.PEERS_LOST, Exit.TERMINATED)
"""Not held against the attempt: where it is still wanted, it is started again as if for the first time."""
