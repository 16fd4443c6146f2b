"""How each service is started on this machine, from what the planner wants."""

import socket
from collections.abc import Mapping
from pathlib import Path

from selfie.artifacts.manifests import read_manifest
from selfie.artifacts.weights import pull
from selfie.dispatch.services import GRPC_SERVICES
from selfie.errors import NotFound
from selfie.local.places import LocalRun, weights_cache
from selfie.local.processes import Launch
from selfie.runs.lineage import Input
from selfie.runs.steps import ENGINE, FILTERING, GENERATION, SCORING, TRAINING
from selfie.runs.wanted import ServiceWanted


class Launches:
    """Makes launches for one run; the engine keeps one address for the whole of it.

    ``engine_flags`` are those of the generation service where the engine is not one of our own. Then
    the scoring workers keep an address too: the engine's numbers are held against theirs.
    """

    def __init__(self, local: LocalRun, nursery: Path, engine_flags: tuple[str, ...] = ()) -> None:
        self._local = local
        self._nursery = str(nursery)
        self._engine_port = _free_port()
        self._scoring_port = _free_port() if engine_flags else 0
        self._engine_flags = (
            (*engine_flags, "--run-scoring-address", f"127.0.0.1:{self._scoring_port}")
            if engine_flags
            else ("--engine-address", f"127.0.0.1:{self._engine_port}")
        )
        self._roots = ("--artifact-roots", f'["{local.uri}"]')

    @property
    def cache(self) -> Path:
        """Directory for weights and checkpoints of this run."""
        return self._local.scratch / "cache"

    def shared(self) -> dict[str, Launch]:
        """The services that a cluster shares between its runs; here they live as long as the run."""
        state = str(self._local.scratch / "jobs")
        return {
            GENERATION: self._launch(GENERATION, *self._roots, *self._engine_flags),
            FILTERING: self._launch(FILTERING, *self._roots),
            TRAINING: self._launch(TRAINING, *self._roots, "--state-dir", state, "--nursery", self._nursery),
        }

    def own(self, wanted: Mapping[str, ServiceWanted]) -> dict[str, Launch]:
        """The run's own services with their weights, which are first brought to this machine."""
        launches = {}
        if ENGINE in wanted:
            policy = wanted[ENGINE].weights["policy"]
            weights = ("--weights", str(self.weights(policy)), "--weights-digest", _digest(policy))
            launches[ENGINE] = self._launch(ENGINE, *weights, "--port", str(self._engine_port))
        if SCORING in wanted:
            arguments = list(self._roots)
            for role, entry in sorted(wanted[SCORING].weights.items()):
                arguments += (f"--{role}", str(self.weights(entry)), f"--{role}-digest", _digest(entry))
            if self._scoring_port:
                arguments += ("--port", str(self._scoring_port))
            launches[SCORING] = self._launch(SCORING, *arguments)
        return launches

    def _launch(self, name: str, *arguments: str) -> Launch:
        return Launch(f"selfie.{name}", GRPC_SERVICES[name], arguments, slow=name in (ENGINE, SCORING))

    def weights(self, entry: Input) -> Path:
        """Where the weights are on this machine; they are brought here if they are not."""
        weights = weights_cache(self._local.scratch)
        cached = weights / _digest(entry)
        if cached.is_dir():
            return cached
        manifest = read_manifest(self._local.store, entry.source.step)
        if manifest is None:
            raise NotFound(f"{entry.source.step} has published no weights in {self._local.uri}")
        return pull(self._local.store, manifest.group(entry.source.group), weights)


def _digest(entry: Input) -> str:
    return entry.weights_digest or ""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
