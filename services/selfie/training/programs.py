"""The programs that a training controller starts: their modules, and what they find in their environment."""

from collections.abc import Mapping
from typing import Final

from selfie.runs.programs import ProgramName

MODULES: Final[Mapping[ProgramName, str]] = {
    "adopt": "selfie.adopt",
    "prepare": "selfie.prepare",
    "train": "selfie.training.trainer",
    "publish": "selfie.publish",
    "rate": "selfie.rating",
}

WITH_A_MODEL: Final[frozenset[ProgramName]] = frozenset({"train", "rate"})
"""Programs that compute with a model: what a run says of its training pods' size is for these."""

OFFLINE: Final = "HF_HUB_OFFLINE"

_ENVIRONMENT: Final = {
    "PYTHONUNBUFFERED": "1",
    # Progress bars are made for terminals; these are read when the libraries are imported.
    "TQDM_DISABLE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    # glibc gives every large block back to the kernel, and a training on CPUs then spends its time on
    # page faults: 1.4 to 2.4 times as long.
    "MALLOC_MMAP_THRESHOLD_": str(4 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(4 << 30),
    "MALLOC_TOP_PAD_": str(256 << 20),
}


def environment(program: ProgramName) -> Mapping[str, str]:
    """Variables of a program; after `prepare` nothing is fetched, so nothing may be asked for outside."""
    return {**_ENVIRONMENT, **({} if program == "prepare" else {OFFLINE: "1"})}
