"""The nursery of a local run: its own, or one that is there already."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from selfie.local.processes import ENVIRONMENT
from selfie.processes.spawning import Nursery, OwnNursery

NURSERY_VARIABLE = "SELFIE_NURSERY"
"""Names the socket of a nursery that several runs share, as tests of many short runs do."""

SLOW_IMPORTS = (
    "selfie.engine.loading",
    "selfie.engine.servicer",
    "selfie.scoring.loading",
    "selfie.scoring.servicer",
    "selfie.training.trainer.program",
    "transformers.models.llama.modeling_llama",
)
"""What engine, scorer and trainer import, and which architecture most models here are of."""


def own_nursery(directory: Path) -> OwnNursery:
    """A nursery for the processes of runs, whose socket and log are in ``directory``."""
    return OwnNursery(directory, SLOW_IMPORTS, {**ENVIRONMENT, "HF_HUB_OFFLINE": "1"})


@contextmanager
def nursery_for_runs() -> Iterator[Nursery]:
    """The one that the environment names, else one that ends with the block."""
    if address := os.environ.get(NURSERY_VARIABLE):
        yield Nursery(Path(address))
        return
    # A socket's path may have 108 bytes, which a run's own directory often exceeds.
    with TemporaryDirectory(prefix="selfie-") as directory:
        nursery = own_nursery(Path(directory))
        try:
            yield nursery
        finally:
            nursery.close()
