"""The Kubernetes objects of a job, from what it is for: pure, and the same for the same attempt.

Nothing of a Job is changed once it is there. Others may: a queue flips ``suspend`` and writes node
selectors into it, and it is still the same Job.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from selfie.artifacts.exits import ENDS_THE_ATTEMPT, NOT_ITS_FAULT
from selfie.artifacts.programs import Attempt
from selfie.artifacts.starts import POD_UID
from selfie.errors import FailedPrecondition
from selfie.kube.frozen import NAME_TAKEN
from selfie.kube.labels import RUN_UID, child_labels, owner_reference
from selfie.kube.objects import Object, controller_uid_of, name_of, namespace_of, uid_of
from selfie.kube.pod_settings import ContainerSettings
from selfie.kube.pods import Container, Overrides, pod_metadata, pod_spec
from selfie.runs.names import job_name, training_name
from selfie.runs.operation_fields import ComponentResources
from selfie.runs.programs import ProgramName
from selfie.runs.spec import RunSpec, SelfieRun
from selfie.runs.steps import Step
from selfie.training import records
from selfie.training.pod.serving import CPUS
from selfie.training.programs import WITH_A_MODEL, environment

MANAGER: Final = "selfie-training"
COMPONENT: Final = "trainer"
STEP: Final = "selfie.dev/step"
ATTEMPT: Final = "selfie.dev/attempt"
QUEUE: Final = "kueue.x-k8s.io/queue-name"
JOB: Final = "selfie.dev/job"
"""Annotation with the name under which the job is asked for."""

PROGRAM_CONTAINER: Final = "program"
HUB_TOKEN: Final = "HF_TOKEN"  # noqa: S105 - the name of one
MAIN_PORT: Final = 29500
"""Port of the first pod at which the others of a job find it."""

RESTARTS_PER_NODE: Final = 6
"""Crashes of a pod that are borne within one attempt; disruptions do not count."""


# Accelerators of one node exchange gradients through it; a container has 64 MiB of it otherwise.
_SHARED_MEMORY = ({"name": "shared-memory", "emptyDir": {"medium": "Memory"}},)


@dataclass(frozen=True)
class Wanted:
    """What a Job is for: one attempt at a step of the run ``owner``, as it is carried out now."""

    owner: Object
    run: SelfieRun
    attempt: Attempt
    step: Step
    program: ProgramName
    parameters_sha256: str

    @property
    def name(self) -> str:
        """The Job's name, which no other attempt has."""
        return job_name(name_of(self.owner), uid_of(self.owner), self.step, self.attempt.number)

    @property
    def nodes(self) -> int:
        """Pods that work together; only a training is shared."""
        return self.run.spec.nodes if self.program == "train" else 1

    @property
    def ranks(self) -> int:
        """Processes of each pod: one for each accelerator."""
        return max(self.run.spec.gpus_per_node, 1) if self.program == "train" else 1


def job_of(wanted: Wanted, settings: ContainerSettings) -> Object:
    """The Job; it waits for its queue to admit it, where the run has one."""
    spec, labels = wanted.run.spec, _labels(wanted)
    job: Object = {
        "parallelism": wanted.nodes,
        "completions": wanted.nodes,
        "completionMode": "Indexed" if wanted.nodes > 1 else "NonIndexed",
        "backoffLimit": RESTARTS_PER_NODE * wanted.nodes,
        "podFailurePolicy": _failure_policy(),
        # Of two pods at once both would train; the new one waits until the old one is gone for good.
        "podReplacementPolicy": "Failed",
        "suspend": spec.queue is not None,
        "template": {"metadata": pod_metadata(settings, labels), "spec": _pod(wanted, settings)},
    }
    queue = {} if spec.queue is None else {QUEUE: spec.queue}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": wanted.name,
            "namespace": namespace_of(wanted.owner),
            "labels": labels | queue,
            "annotations": {JOB: records.job_name(wanted.attempt)},
            "ownerReferences": [owner_reference(wanted.owner)],
        },
        "spec": job,
    }


def rendezvous_of(owner: Object) -> Object:
    """The headless Service by which the pods of the run's jobs find each other, ready or not."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": training_name(uid_of(owner)),
            "namespace": namespace_of(owner),
            "labels": child_labels(owner, COMPONENT, managed_by=MANAGER),
            "ownerReferences": [owner_reference(owner)],
        },
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {RUN_UID: uid_of(owner), "app.kubernetes.io/component": COMPONENT},
            "ports": [{"name": "rendezvous", "port": MAIN_PORT}],
        },
    }


def pod_labels(run_uid: str, step: str, attempt: int) -> dict[str, str]:
    """Labels that the pods of this attempt have, and no others."""
    return {RUN_UID: run_uid, STEP: step.replace("/", "."), ATTEMPT: str(attempt)}


def require_own(found: Object, run_uid: str) -> Object:
    """The object, if it is the run's; `FailedPrecondition` ``NameTaken`` if it is somebody else's."""
    if controller_uid_of(found) != run_uid:
        raise FailedPrecondition(
            NAME_TAKEN,
            f"the {found.get('kind', 'object')} {name_of(found)} belongs to somebody else; "
            "delete it, or rename the run",
        )
    return found


def require_told(found: Object, wanted: Wanted) -> None:
    """`FailedPrecondition` ``NameTaken`` for a Job whose program is told something else.

    All else may be as others have made it, or as an earlier release did.
    """
    containers = found["spec"]["template"]["spec"]["containers"]
    if not any(wanted.parameters_sha256 in (entry.get("args") or ()) for entry in containers):
        raise FailedPrecondition(
            NAME_TAKEN, f"the Job {name_of(found)} is told other parameters; delete it to have it made anew"
        )


def _labels(wanted: Wanted) -> dict[str, str]:
    return {
        **child_labels(wanted.owner, COMPONENT, managed_by=MANAGER),
        **pod_labels(uid_of(wanted.owner), wanted.step.path, wanted.attempt.number),
    }


def _failure_policy() -> Object:
    return {
        "rules": [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            _on_exit("Ignore", NOT_ITS_FAULT),
            _on_exit("FailJob", ENDS_THE_ATTEMPT),
        ]
    }


def _on_exit(action: str, statuses: tuple[int, ...]) -> Object:
    values = sorted(int(status) for status in statuses)
    return {
        "action": action,
        "onExitCodes": {"containerName": PROGRAM_CONTAINER, "operator": "In", "values": values},
    }


def _pod(wanted: Wanted, settings: ContainerSettings) -> Object:
    container = Container(
        name=PROGRAM_CONTAINER,
        module="selfie.training.pod",
        arguments=_arguments(wanted),
        volume_mounts=[{"name": "shared-memory", "mountPath": "/dev/shm"}] if wanted.ranks > 1 else (),  # noqa: S108
        env=[
            *({"name": name, "value": value} for name, value in environment(wanted.program).items()),
            {"name": POD_UID, "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
            # Rounded up; without a limit, the cores of the node.
            {"name": CPUS, "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1"}}},
            *_hub_token(wanted),
        ],
    )
    # Whatever the chart says: a program has no business with the API server.
    tokenless = settings.model_copy(update={"automount_token": False})
    pod = pod_spec(
        tokenless,
        container,
        overrides=_overrides(wanted.run.spec, wanted.program),
        volumes=_SHARED_MEMORY if wanted.ranks > 1 else (),
        restart_policy="Never",
    )
    if wanted.nodes > 1:
        # With the Service of this name, pod 0 is known as JOB-0.SUBDOMAIN wherever it runs.
        pod["subdomain"] = training_name(uid_of(wanted.owner))
    return pod


def _hub_token(wanted: Wanted) -> Iterator[Object]:
    """Of that Secret nothing else, and for the one program that reaches the hub."""
    if wanted.program == "prepare":
        for secret in wanted.run.spec.hub_secrets:
            reference = {"name": secret, "key": HUB_TOKEN}
            yield {"name": HUB_TOKEN, "valueFrom": {"secretKeyRef": reference}}


def _arguments(wanted: Wanted) -> tuple[str, ...]:
    attempt = wanted.attempt
    arguments = (
        *("--program", wanted.program),
        *("--run-uri", attempt.run_uri),
        *("--step", attempt.step),
        *("--attempt", str(attempt.number)),
        *("--parameters-sha256", wanted.parameters_sha256),
    )
    if wanted.nodes * wanted.ranks == 1:
        return arguments
    main = f"{wanted.name}-0.{training_name(uid_of(wanted.owner))}" if wanted.nodes > 1 else "127.0.0.1"
    return (
        *arguments,
        *("--nodes", str(wanted.nodes)),
        *("--ranks", str(wanted.ranks)),
        *("--main", f"{main}:{MAIN_PORT}"),
    )


def _overrides(spec: RunSpec, program: ProgramName) -> Overrides:
    heavy = program in WITH_A_MODEL
    resources = spec.resources.training if heavy else None
    return Overrides(
        resources=resources or ComponentResources(),
        placement=spec.placement,
        accelerators=spec.gpus_per_node if heavy else 0,
    )
