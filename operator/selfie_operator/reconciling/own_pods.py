"""What the pods of a run's own services are made of: Selfie's containers, and an engine of another's image.

Pure: from the run's specification, what was frozen when it started, and the weights that are wanted.
"""

import json
from collections.abc import Iterator
from typing import Final

from selfie.dispatch.services import GRPC_SERVICES
from selfie.kube.frozen import Frozen
from selfie.kube.objects import Object
from selfie.kube.pod_settings import ContainerSettings, ServerSettings
from selfie.kube.pods import GRPC_PORT, METRICS_PORT, Container, Overrides, pod_spec
from selfie.kube.server_pods import NOTE, NOTE_MOUNT, server_pod_spec
from selfie.runs.lineage import Input
from selfie.runs.names import CURRENT_WEIGHTS
from selfie.runs.operation_fields import ComponentResources
from selfie.runs.spec import RunSpec
from selfie.runs.steps import ENGINE, SCORING
from selfie.runs.wanted import ServiceWanted

_PLACE: Final = "/weights"
_VOLUME: Final[Object] = {"name": "weights", "emptyDir": {}}
_MOUNT: Final[Object] = {"name": "weights", "mountPath": _PLACE}
_LISTEN: Final = ("--host", "0.0.0.0", "--port", str(GRPC_PORT), "--metrics-port", str(METRICS_PORT))  # noqa: S104


def own_pod(spec: RunSpec, run_uri: str, settings: ContainerSettings, wanted: ServiceWanted) -> Object:
    """A pod of Selfie's own service, which fetches its weights before it starts."""
    serves = Container(
        name=wanted.name,
        module=f"selfie.{wanted.name}",
        arguments=(*_arguments(spec, run_uri, wanted), *_LISTEN),
        volume_mounts=(_MOUNT,),
        grpc_service=GRPC_SERVICES[wanted.name],
    )
    pulls = [
        Container(f"pull-{role}", "selfie.cli", _pull(run_uri, place, entry), volume_mounts=(_MOUNT,))
        for role, place, entry in _places(wanted)
    ]
    return pod_spec(
        settings, serves, overrides=_overrides(spec, wanted.name), before=pulls, volumes=(_VOLUME,)
    )


def server_pod(spec: RunSpec, frozen: Frozen, server: ServerSettings, wanted: ServiceWanted) -> Object:
    """A pod of an engine behind HTTP: with these weights, or, in place, with those of the pod's note."""
    overrides = Overrides(spec.resources.engine or ComponentResources(), spec.placement, server.accelerators)
    if server.in_place:
        return _following_pod(frozen, server, overrides)
    policy = wanted.weights["policy"]
    # Who it serves is told by the directory's name: servers repeat the path that they were started with.
    weights = f"{_PLACE}/{digest_of(policy)}"
    pulls = Container(
        "pull-policy", "selfie.cli", _pull(frozen.run_uri, weights, policy), volume_mounts=(_MOUNT,)
    )
    fetches = (frozen.pods.engine, pulls)
    return server_pod_spec(server, weights, overrides=overrides, fetches=fetches, volume=_VOLUME)


def _following_pod(frozen: Frozen, server: ServerSettings, overrides: Overrides) -> Object:
    """Nothing in it says which weights: a pod whose template changed would be made anew."""
    arguments = ("--run-uri", frozen.run_uri, "--wanted", NOTE, "--weights", _PLACE)
    module, mounts = "selfie.generation.following", (_MOUNT, NOTE_MOUNT)
    pulls = Container("pull-policy", module, (*arguments, "--first"), volume_mounts=mounts)
    address = ("--engine-address", f"http://127.0.0.1:{server.port}")
    follows = Container(
        "follow-policy",
        module,
        (*arguments, *address, *_LISTEN),
        volume_mounts=mounts,
        grpc_service=GRPC_SERVICES[ENGINE],
    )
    return server_pod_spec(
        server,
        f"{_PLACE}/{CURRENT_WEIGHTS}",
        overrides=overrides,
        fetches=(frozen.pods.engine, pulls),
        volume=_VOLUME,
        follows=follows,
    )


def digest_of(entry: Input) -> str:
    """Digest of the weights; empty where they have none."""
    return entry.weights_digest or ""


def _arguments(spec: RunSpec, run_uri: str, wanted: ServiceWanted) -> Iterator[str]:
    places = {digest_of(entry): place for _, place, entry in _places(wanted)}
    if wanted.name == ENGINE:
        policy = wanted.weights["policy"]
        yield from ("--weights", places[digest_of(policy)], "--weights-digest", digest_of(policy))
        return
    yield from ("--artifact-roots", json.dumps([run_uri]))
    for role, entry in sorted(wanted.weights.items()):
        yield from (f"--{role}", places[digest_of(entry)], f"--{role}-digest", digest_of(entry))
    if spec.gpus_per_node:
        yield from ("--device", "cuda:0")


def _places(wanted: ServiceWanted) -> Iterator[tuple[str, str, Input]]:
    """Role, directory and input of all weights that are fetched: the same ones only once."""
    seen: set[str] = set()
    for role, entry in sorted(wanted.weights.items()):
        if digest_of(entry) not in seen:
            seen.add(digest_of(entry))
            yield role, f"{_PLACE}/{role}", entry


def _pull(run_uri: str, place: str, entry: Input) -> tuple[str, ...]:
    # Who loads the weights is told their digest, and takes no others.
    return ("artifacts", "pull", run_uri, place, "--step", entry.source.step, "--group", entry.source.group)


def _overrides(spec: RunSpec, name: str) -> Overrides:
    resources = spec.resources.engine if name == ENGINE else spec.resources.scoring
    # The embedded engine computes on processors.
    accelerators = 1 if name == SCORING and spec.gpus_per_node else 0
    return Overrides(resources or ComponentResources(), spec.placement, accelerators)
