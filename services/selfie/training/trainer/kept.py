"""Checkpoints in the store, for a start that finds nothing on its node of what an earlier one left.

Where the store is a directory, checkpoints are made there at once, and this has nothing to do. Else
each one is uploaded when it is made, under the name of its writer, and counts once a list of its
files with their digests lies beside it. The newest that arrives whole is gone on from.
"""

import json
import logging
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from selfie.artifacts.store import Store
from selfie.errors import DataCorrupted, NotFound
from selfie.training.trainer.checkpoints import newest_checkpoint
from selfie.training.trainer.peers import is_main, meet, ranks, told_by_main

KEPT = 2
"""Checkpoints that stay; with one alone, a start that dies while it uploads would leave none."""

_LIST = re.compile(r"checkpoint-(\d+)-[^/]+\.json")
_OF_RANK = re.compile(r"rng_state_(\d+)\.pth|rank-(\d+)-.*")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class KeptCheckpoints:
    """Those below ``prefix`` of the store, and those in ``directory`` of this machine."""

    store: Store
    prefix: str
    directory: Path
    writer: str

    def newest(self) -> Path | None:
        """The latest whole checkpoint, brought to this machine where it lies elsewhere."""
        local = newest_checkpoint(self.directory)
        if self._is_directory:
            name = told_by_main(None if local is None else local.name)
            return None if name is None else self.directory / name
        name = told_by_main(self._newest_kept(local) if is_main() else None)
        if name is None:
            return local if ranks() == 1 else None
        if not is_main() and int(os.environ.get("LOCAL_RANK", "0")) == 0:
            self._fetch(name)
        meet()
        return self._place(name)

    def keep(self, step: int) -> None:
        """Uploads the checkpoint of this step; the first rank vouches for all of it."""
        if self._is_directory:
            return
        source = self.directory / f"checkpoint-{step}"
        name = f"checkpoint-{step}-{told_by_main(self.writer)}"
        for file in sorted(path for path in source.rglob("*") if path.is_file()):
            relative = file.relative_to(source).as_posix()
            if _is_own(relative):
                self.store.upload(file, f"{self.prefix}/{name}/{relative}", keep_source=True)
        meet()
        if is_main():
            self._vouch(name)
            self._drop_older()

    def discard(self) -> None:
        """Removes them all, once nobody needs them."""
        shutil.rmtree(self.directory, ignore_errors=True)
        if not self._is_directory:
            self.store.delete(self.prefix)

    @property
    def _is_directory(self) -> bool:
        return self.store.local_path(self.prefix) is not None

    def _newest_kept(self, local: Path | None) -> str | None:
        """Name of the newest that can be had; None where what is here is newer, or where there is none."""
        own = -1 if local is None or ranks() > 1 else _step(f"{local.name}-")
        for name in sorted(self._names(), key=_step, reverse=True):
            if _step(name) <= own:
                return None
            try:
                self._fetch(name)
            except (NotFound, DataCorrupted) as error:
                logger.warning("the checkpoint %s is passed over: %s", name, error)
                continue
            return name
        return None

    def _names(self) -> list[str]:
        """Names of checkpoints whose list of files is there."""
        files = (path.removeprefix(f"{self.prefix}/") for path in self.store.list(self.prefix))
        return [name.removesuffix(".json") for name in files if _LIST.fullmatch(name)]

    def _fetch(self, name: str) -> None:
        target = self._place(name)
        shutil.rmtree(target, ignore_errors=True)
        for relative, digest in json.loads(self.store.read(f"{self.prefix}/{name}.json")).items():
            file = target / relative
            file.parent.mkdir(parents=True, exist_ok=True)
            found = self.store.download(f"{self.prefix}/{name}/{relative}", file).sha256
            if found != digest:
                raise DataCorrupted(f"{self.prefix}/{name}/{relative} has the SHA-256 {found}, not {digest}")

    def _place(self, name: str) -> Path:
        return self.directory / name.rpartition("-")[0]

    def _vouch(self, name: str) -> None:
        path = f"{self.prefix}/{name}"
        files = {
            file.removeprefix(f"{path}/"): self.store.digest(file).sha256 for file in self.store.list(path)
        }
        self.store.write(f"{path}.json", json.dumps(files, sort_keys=True).encode())

    def _drop_older(self) -> None:
        for name in sorted(self._names(), key=_step, reverse=True)[KEPT:]:
            # The list first: half of a checkpoint counts as none.
            self.store.delete(f"{self.prefix}/{name}.json")
            self.store.delete(f"{self.prefix}/{name}")


class Keeping(TrainerCallback):  # type: ignore[misc]
    """Keeps each checkpoint when it has been made."""

    def __init__(self, kept: KeptCheckpoints) -> None:
        self._kept = kept

    def on_save(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        self._kept.keep(state.global_step)


def _step(name: str) -> int:
    return int(name.split("-")[1])


def _is_own(name: str) -> bool:
    """Whether this rank uploads the file: its own state, and on the first rank all that is shared."""
    found = _OF_RANK.fullmatch(name)
    rank = int(os.environ.get("RANK", "0"))
    return (int(found[1] or found[2]) if found else 0) == rank
