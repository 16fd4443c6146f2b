"""A run on a cluster as the training controller meets it, and what is asked for it."""

import copy
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from selfie.artifacts.manifests import FileEntry, publish
from selfie.artifacts.programs import Attempt
from selfie.artifacts.published import PublishedSteps
from selfie.artifacts.store import Store
from selfie.artifacts.weights import weights_digest
from selfie.kube.frozen import Frozen, config_map_of
from selfie.kube.objects import Object
from selfie.kube.pod_settings import ContainerSettings, PodSettings
from selfie.runs.evaluations import evaluations_of
from selfie.runs.lineage import pin, sources_of
from selfie.runs.load import run_from_object
from selfie.runs.names import run_path
from selfie.runs.observed import ManifestSummary
from selfie.runs.programs import PROGRAM_OF, parameters_of
from selfie.runs.relocating import with_sources
from selfie.runs.resolving import resolved
from selfie.runs.spec import SelfieRun
from selfie.runs.steps import request_id, step_at
from selfie.training.cluster.authority import Asked

NAMESPACE = "team"
UID = "0b9a1c52-6f0e-4d0e-9d55-5b1a2f4c7e11"
ROOT = "file:///artifacts"
SOURCES = "file:///usr/share/selfie/examples"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SPEC: Mapping[str, Any] = {
    "model": {"uri": "builtin://toy"},
    "seed": {"dataset": "data/seed.jsonl", "heldout": "data/heldout.jsonl"},
    "rounds": [{"prompts": {"dataset": "data/prompts.jsonl", "count": 8}}],
    "evaluation": {"initial": False},
}


def trainer_settings(**changes: Any) -> ContainerSettings:
    plain = {"image": "registry.local/selfie-gpu:1.2", "serviceAccount": "selfie-trainer"}
    return ContainerSettings.model_validate(plain | changes)


def pod_settings(**changes: Any) -> PodSettings:
    trainer = trainer_settings(**changes)
    return PodSettings(engine=trainer, scoring=trainer, trainer=trainer)


def selfie_run(
    step: str = "prepare",
    *,
    attempt: int = 1,
    uid: str = UID,
    name: str = "toy",
    namespace: str = NAMESPACE,
    spec: Mapping[str, Any] | None = None,
    **status: Any,
) -> Object:
    """The SelfieRun whose status says that it is at this step; ``spec`` adds to or replaces fields."""
    return {
        "apiVersion": "selfie.dev/v1alpha1",
        "kind": "SelfieRun",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": uid,
            "resourceVersion": "1",
            "generation": 1,
        },
        "spec": {**copy.deepcopy(dict(SPEC)), **(spec or {})},
        "status": {"step": step, "attempt": attempt, **status},
    }


def run_uri(owner: Object, root: str = ROOT) -> str:
    metadata = owner["metadata"]
    return f"{root}/{run_path(metadata['namespace'], metadata['name'], metadata['uid'])}"


def frozen_of(owner: Object, *, root: str = ROOT, pods: PodSettings | None = None) -> Frozen:
    """What the operator has fixed when the run began."""
    run = run_from_object(owner)
    absolute = with_sources(run, lambda _, uri: uri if "://" in uri else f"{SOURCES}/{uri}")
    whole = absolute.model_copy(update={"spec": resolved(absolute.spec)})
    return Frozen(whole, run_uri(owner, root), pods or pod_settings(), SOURCES)


def frozen_map(owner: Object, **changes: Any) -> Object:
    """The same as the ConfigMap that it lies in."""
    return config_map_of(frozen_of(owner, **changes), owner)


def published_steps(*paths: str) -> dict[str, ManifestSummary]:
    """Manifests of these steps, with weights where steps have some."""
    digests = dict.fromkeys(("model", "checkpoint"), "d" * 64)
    groups = frozenset({"model", "seed", "heldout", "prompts-round-01", "checkpoint", "pairs"})
    return {path: ManifestSummary(sha256="5" * 64, digests=digests, groups=groups) for path in paths}


def asked_of(
    owner: Object,
    run: SelfieRun | None = None,
    manifests: Mapping[str, ManifestSummary] | None = None,
    *,
    root: str = ROOT,
) -> Asked:
    """What the operator asks for at the run's present step."""
    status, uid = owner["status"], owner["metadata"]["uid"]
    run = run or frozen_of(owner, root=root).of(run_from_object(owner))
    step = step_at(status["step"])
    assert step is not None
    manifests = manifests or {}
    inputs = pin(sources_of(run.spec, step, evaluations_of(run.spec, manifests)), manifests)
    attempt = Attempt(run_uri=run_uri(owner, root), step=step.path, number=status["attempt"], run_uid=uid)
    parameters = parameters_of(run, step, inputs)
    own = attempt.model_dump(mode="json", by_alias=True)
    return Asked(
        attempt=attempt,
        request_id=request_id(uid, step, status["attempt"]),
        program=PROGRAM_OF[step.name],
        parameters={**parameters, "attempt": own, "cacheDir": "/wherever"},
    )


def asked_from(store: Store, owner: Object, *, root: str) -> Asked:
    """What the operator asks for, from what it finds in the run's store."""
    run = frozen_of(owner, root=root).of(run_from_object(owner))
    return asked_of(owner, run, PublishedSteps(store).look(run.spec), root=root)


def publish_prepared(store: Store, attempt: Attempt) -> str:
    """Publishes the first step, with nothing but what a seed needs; returns the digest of its model."""
    files = [_file(store, "model", "model.safetensors"), _file(store, "seed", "seed.parquet")]
    manifest = attempt.manifest(writer="w", started_at=NOW, files=files)
    publish(store, manifest)
    return weights_digest(manifest.group("model"))


def _file(store: Store, group: str, name: str) -> FileEntry:
    path = f"prepare/a1/{name}"
    store.write(path, name.encode())
    found = store.digest(path)
    return FileEntry(group=group, name=name, path=path, sha256=found.sha256, bytes=found.bytes)


def other_uid() -> str:
    return str(uuid.uuid4())
