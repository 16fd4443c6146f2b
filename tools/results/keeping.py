"""Keeps of a study what its tables are made of: so they can be made again where its runs are no more."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from studies import Study

from selfie.artifacts.local_files import LocalFiles
from selfie.artifacts.run_files import read_run, read_status
from selfie.artifacts.store import Store
from selfie.compare.runs import read_judged_run
from selfie.runs import reasons
from selfie.runs.status import derived_reason


class _Noting(LocalFiles):
    """Files, and which of them were read."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.noted: set[str] = set()

    def read(self, path: str) -> bytes:
        data = super().read(path)
        self.noted.add(path)
        return data


def keep(study: Study, artifacts: Path, target: Path) -> Iterator[Path]:
    """Copies, of every completed run of the study, the files that comparing it reads; yields where to.

    A run that is there already is put in place of itself.
    """
    for variant in study.variants:
        for place in study.found(artifacts, variant):
            files = _Noting(place.resolve())
            store = Store(place.resolve().as_uri(), files)
            status = read_status(store)
            if derived_reason(status) != reasons.COMPLETED:
                continue
            read_judged_run(store, read_run(store), status)
            kept = target / place.name
            shutil.rmtree(kept, ignore_errors=True)
            for path in sorted(files.noted):
                (kept / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(place / path, kept / path)
            yield kept
