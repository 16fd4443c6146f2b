"""Brings an engine to the weights that are wanted of it, as often as others are.

Nothing is remembered that decides anything: each time the note is read and the engine is asked, so
that a follower or an engine that begins anew ends where it would have been.
"""

import asyncio
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from selfie.artifacts.store import Store
from selfie.artifacts.weights import pull_published
from selfie.generation.digests import digest_in
from selfie.generation.fleet.servers import Server
from selfie.generation.following.wanted import WantedWeights
from selfie.runs.names import CURRENT_WEIGHTS

log = structlog.get_logger()


@dataclass(frozen=True)
class Follower:
    """Fetches from ``store`` into ``folder``, which the engine sees at the same path.

    ``wanted`` says which weights are; None as long as that is not known.
    """

    store: Store
    folder: Path
    wanted: Callable[[], WantedWeights | None]

    async def fetch(self) -> WantedWeights | None:
        """Has the wanted weights in the folder, verified, as what an engine would be started with.

        Raises what `pull_published` raises.
        """
        wanted = self.wanted()
        if wanted is not None:
            await asyncio.to_thread(self._fetch, wanted)
        return wanted

    async def bring(self, server: Server) -> bool:
        """Moves the engine if it has other weights than those wanted; whether it has these.

        Weights that nobody wants are removed afterwards. Raises also what `Server.look` and
        `Server.load` raise.
        """
        wanted = await self.fetch()
        if wanted is None:
            return False
        if (await server.look()).identity.weights_digest != wanted.digest:
            log.info("the engine is moved to other weights", digest=wanted.digest, step=wanted.step)
            await server.load(str(self.folder / wanted.digest), wanted.digest)
        await asyncio.to_thread(self._tidy, wanted.digest)
        return True

    def _fetch(self, wanted: WantedWeights) -> None:
        # A directory has this name only once it is whole and verified.
        if not (self.folder / wanted.digest).is_dir():
            pull_published(
                self.store, wanted.step, wanted.group, digest=wanted.digest, cache_root=self.folder
            )
        current, partial = self.folder / CURRENT_WEIGHTS, self.folder / f".{CURRENT_WEIGHTS}"
        if not current.is_symlink() or current.readlink() != Path(wanted.digest):
            partial.unlink(missing_ok=True)
            partial.symlink_to(wanted.digest)
            partial.replace(current)

    def _tidy(self, kept: str) -> None:
        for entry in self.folder.iterdir():
            if digest_in(entry.name) not in ("", kept):
                with suppress(OSError):
                    shutil.rmtree(entry)
