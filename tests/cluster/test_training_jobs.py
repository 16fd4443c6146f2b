"""The training controller's Jobs on a real control plane, whose fake node lets tests decide pods' fate."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from cluster.fake_kubelet import FakeKubelet
from cluster.fake_pods import FakePod
from cluster.pod_statuses import Exit as PodExit
from cluster.pod_statuses import Waiting
from cluster.running import Cluster
from clusters import apply
from selfie.artifacts.exits import Exit
from selfie.artifacts.manifests import publish
from selfie.artifacts.starts import begin
from selfie.artifacts.store import open_store
from selfie.errors import FailedPrecondition, NotFound
from selfie.kube.client import ClientSettings, KubeApi, connect
from selfie.kube.objects import CONFIG_MAP, JOB, POD, SELFIE_RUN, SERVICE, Object, uid_of
from selfie.kube.transport import Access
from selfie.rpc.stores import store_opener
from selfie.training.cluster.authority import Asked
from selfie.training.cluster.controller import ClusterJobs
from selfie.training.cluster.granting import Grants
from selfie.training.cluster.sweeping import Sweeper
from selfie.training.job import Job
from selfie.training.records import job_name
from training_runs import (
    NOW,
    asked_from,
    frozen_map,
    publish_prepared,
    run_uri,
    selfie_run,
    trainer_settings,
)

CRD = Path(__file__).parents[2] / "charts/selfie/files/selfieruns.selfie.dev.yaml"
ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
QUEUE = "kueue.x-k8s.io/queue-name"
ADMITTED = {"pool": "admitted"}
"""What a queue writes into the Jobs that it admits, and the labels of the node."""

T = TypeVar("T")

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def kinds(control_plane: Cluster) -> Cluster:
    """The control plane with the kind SelfieRun."""
    if CRD.exists():
        control_plane.kubectl("apply", "--server-side", "-f", str(CRD))
    else:
        apply(control_plane, _small_crd())
    control_plane.kubectl("wait", "--for=condition=Established", "crd/selfieruns.selfie.dev", "--timeout=60s")
    return control_plane


def _small_crd() -> dict[str, Any]:
    version = {
        "name": "v1alpha1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": {**ANYTHING, "properties": {"spec": ANYTHING, "status": ANYTHING}}},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "selfieruns.selfie.dev"},
        "spec": {
            "group": "selfie.dev",
            "scope": "Namespaced",
            "names": {"kind": "SelfieRun", "plural": "selfieruns", "singular": "selfierun"},
            "versions": [version],
        },
    }


class World:
    """A run in a namespace of its own, whose operator has asked for its first step."""

    def __init__(self, cluster: Cluster, api: KubeApi, node: FakeKubelet, namespace: str, root: Path) -> None:
        self.cluster, self.api, self.node, self.namespace = cluster, api, node, namespace
        self.root = f"file://{root}/artifacts"
        self.owner: Object = {}

    async def begin(self, step: str = "prepare", **spec: Any) -> None:
        wanted = selfie_run(step, namespace=self.namespace, spec=spec)
        del wanted["metadata"]["uid"], wanted["metadata"]["resourceVersion"]
        self.owner = await self.api.create(SELFIE_RUN, wanted, namespace=self.namespace)
        await self.at(step, 1)
        self.account()
        await self.api.create(CONFIG_MAP, frozen_map(self.owner, root=self.root), namespace=self.namespace)
        self.store = open_store(run_uri(self.owner, self.root))
        self.jobs = self.controller()

    async def at(self, step: str, attempt: int) -> None:
        """What the operator writes before it asks for anything."""
        status = {"status": {"step": step, "attempt": attempt}}
        name = self.owner["metadata"]["name"]
        self.owner = await self.api.patch(
            SELFIE_RUN, name, status, namespace=self.namespace, subresource="status"
        )

    def account(self) -> None:
        self.cluster.kubectl("create", "serviceaccount", "selfie-trainer", f"-n={self.namespace}")

    def controller(self) -> ClusterJobs:
        grants = Grants(self.api, namespace=self.namespace, pods=trainer_settings())
        return ClusterJobs(api=self.api, grants=grants, open_store=store_opener((self.root,)))

    @property
    def asked(self) -> Asked:
        return asked_from(self.store, self.owner, root=self.root)

    @property
    def path(self) -> str:
        return self.asked.attempt.path

    async def create(self, jobs: ClusterJobs | None = None) -> Job:
        asked = self.asked
        return await (jobs or self.jobs).create(
            asked.attempt, request_id=asked.request_id, program=asked.program, parameters=asked.parameters
        )

    async def get(self) -> Job:
        return await self.jobs.get(job_name(self.asked.attempt))

    async def until(self, holds: Callable[[Job], Any], seconds: float = 90) -> Job:
        deadline = time.monotonic() + seconds
        while not holds(job := await self.get()):
            found = await self.api.list(JOB, namespace=self.namespace)
            states = [entry.get("status") for entry in found.items]
            assert time.monotonic() < deadline, (
                f"{job.state} {job.reason} {job.starts} {job.message} {states}"
            )
            await asyncio.sleep(0.1)
        return job

    async def only_job(self) -> Object:
        (found,) = (await self.api.list(JOB, namespace=self.namespace)).items
        return found

    async def live_pods(self) -> list[Object]:
        pods = (await self.api.list(POD, namespace=self.namespace)).items
        return [pod for pod in pods if pod["status"]["phase"] in {"Pending", "Running"}]

    async def one_pod(self) -> str:
        """Name of the only pod that lives, once it runs."""

        async def running() -> str | None:
            pods = await self.live_pods()
            is_running = len(pods) == 1 and pods[0]["status"]["phase"] == "Running"
            return str(pods[0]["metadata"]["name"]) if is_running else None

        return await eventually(running)

    # What programs do.

    async def trains(self, pod: FakePod) -> PodExit:
        """Records its start, and works until it is told to stop."""
        begin(self.store, self.path, uid=pod.object["metadata"]["uid"])
        await pod.stopping.wait()
        return PodExit(Exit.TERMINATED)

    async def publishes(self, pod: FakePod) -> PodExit:
        begin(self.store, self.path, uid=pod.object["metadata"]["uid"])
        publish(self.store, self.asked.attempt.manifest(writer="w", started_at=NOW))
        return PodExit(Exit.DONE)

    def fails(self, status: int, *, reason: str = "ParityBroken", retryable: bool = False) -> Any:
        """Says why, as programs do, and ends."""

        async def program(pod: FakePod) -> PodExit:
            begin(self.store, self.path, uid=pod.object["metadata"]["uid"])
            error = {"reason": reason, "message": "too far apart", "retryable": retryable}
            self.store.write(f"{self.path}/error.json", json.dumps({"error": error}).encode())
            return PodExit(status)

        return program


async def eventually(look: Callable[[], Awaitable[T | None]], seconds: float = 90) -> T:
    async with asyncio.timeout(seconds):
        while not (found := await look()):
            await asyncio.sleep(0.1)
    return found


@pytest.fixture
def node(kinds: Cluster) -> Iterator[FakeKubelet]:
    with FakeKubelet(kinds, labels=ADMITTED) as running:
        yield running


@pytest.fixture
async def world(kinds: Cluster, node: FakeKubelet, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    async with connect(ClientSettings(access=Access(kubeconfig=kinds.kubeconfig))) as api:
        yield World(kinds, api, node, namespace, tmp_path)
        kinds.kubectl("delete", "jobs,pods", "--all", f"-n={namespace}", "--wait=false", "--force")


async def test_a_job_ends_with_its_steps_result_and_goes_with_its_pod(world: World) -> None:
    world.node.run = world.publishes
    await world.begin()
    await world.create()
    job = await world.until(lambda job: job.ended)
    assert (job.state, job.starts) == ("succeeded", 1)
    sweeper = Sweeper(world.api, world.jobs, namespace=world.namespace, keep_s=0)

    async def swept() -> bool:
        return await sweeper.sweep() == 1

    await eventually(swept)
    await eventually(lambda: gone(world, POD))
    assert (await world.create()).state == "succeeded"
    assert (await world.api.list(JOB, namespace=world.namespace)).items == []


async def gone(world: World, kind: Any) -> bool:
    return not (await world.api.list(kind, namespace=world.namespace)).items


@pytest.mark.parametrize("status", [Exit.INVALID_INPUT, Exit.FAILED])
async def test_what_stays_wrong_fails_in_one_try(world: World, status: Exit) -> None:
    world.node.run = world.fails(status)
    await world.begin()
    await world.create()
    job = await world.until(lambda job: job.ended)
    assert (job.state, job.reason, job.retryable, job.starts) == ("failed", "ParityBroken", False, 1)
    found = await world.only_job()
    (failed,) = [entry for entry in found["status"]["conditions"] if entry["type"] == "Failed"]
    assert failed["reason"] == "PodFailurePolicy"


async def test_a_crash_is_started_again_within_the_attempt_and_counted(world: World) -> None:
    async def crashes_once(pod: FakePod) -> PodExit:
        start = begin(world.store, world.path, uid=pod.object["metadata"]["uid"])
        return PodExit(Exit.CRASHED) if start.number == 1 else await world.publishes(pod)

    world.node.run = crashes_once
    await world.begin()
    await world.create()
    uid = uid_of(await world.only_job())
    job = await world.until(lambda job: job.ended)
    found = await world.only_job()
    assert (job.state, job.starts) == ("succeeded", 2)
    assert (uid_of(found), found["status"]["failed"]) == (uid, 1)


@pytest.mark.parametrize("status", [Exit.TERMINATED, Exit.SUPERSEDED, Exit.PEERS_LOST])
async def test_what_is_not_its_fault_is_not_held_against_the_job(world: World, status: Exit) -> None:
    async def ends_once(pod: FakePod) -> PodExit:
        start = begin(world.store, world.path, uid=pod.object["metadata"]["uid"])
        return PodExit(status) if start.number == 1 else await world.publishes(pod)

    world.node.run = ends_once
    await world.begin()
    await world.create()
    job = await world.until(lambda job: job.ended)
    assert (job.state, job.starts) == ("succeeded", 2)
    assert not (await world.only_job())["status"].get("failed")


async def test_an_evicted_pod_is_followed_by_another_of_the_same_job_and_not_counted(world: World) -> None:
    world.node.run = world.trains
    await world.begin()
    await world.create()
    uid = uid_of(await world.only_job())
    world.node.evict(world.namespace, await world.one_pod())
    job = await world.until(lambda job: job.starts == 2)
    assert job.state == "running"
    found = await world.only_job()
    assert uid_of(found) == uid
    assert not found["status"].get("failed")


async def test_a_pod_that_was_deleted_has_its_grace_and_is_never_beside_its_successor(world: World) -> None:
    alive: set[str] = set()
    most = 0

    async def saves_first(pod: FakePod) -> PodExit:
        nonlocal most
        alive.add(pod.name)
        most = max(most, len(alive))
        begin(world.store, world.path, uid=pod.object["metadata"]["uid"])
        await pod.stopping.wait()
        await asyncio.sleep(1)
        alive.discard(pod.name)
        return PodExit(Exit.TERMINATED)

    world.node.run = saves_first
    await world.begin()
    await world.create()
    for started in (2, 3):
        pod = await world.one_pod()
        world.cluster.kubectl("delete", "pod", pod, f"-n={world.namespace}", "--wait=false")
        await world.until(lambda job, started=started: job.starts == started)
    assert most == 1
    assert not (await world.only_job())["status"].get("failed")


async def test_memory_that_ran_out_is_told_by_the_pod(world: World) -> None:
    world.node.run = world.trains
    await world.begin()
    await world.create()
    pod = await world.one_pod()
    await world.until(lambda job: job.starts == 1)
    world.node.kill(world.namespace, pod, PodExit(137, "OOMKilled"))
    # A stop, so that the test need not wait for six crashes.
    world.node.run = world.fails(Exit.FAILED, reason="Later")
    job = await world.until(lambda job: job.ended)
    assert (job.reason, job.starts) == ("Later", 2)
    assert (await world.only_job())["status"]["failed"] == 2


class Queue:
    """A queue controller as Kueue is one: it flips ``suspend``, and injects node selectors on admission."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def admit(self) -> None:
        await self._change({"suspend": False, "template": {"spec": {"nodeSelector": ADMITTED}}})

    async def evict(self) -> None:
        await self._change({"suspend": True})

    async def _change(self, spec: Object) -> None:
        name = (await self._world.only_job())["metadata"]["name"]
        await self._world.api.patch(JOB, name, {"spec": spec}, namespace=self._world.namespace)


async def test_a_queue_admits_evicts_and_admits_again_and_it_stays_the_same_job(world: World) -> None:
    world.node.run = world.trains
    await world.begin(queue="team-queue")
    job = await world.create()
    found = await world.only_job()
    uid = uid_of(found)
    assert (job.state, job.reason) == ("pending", "Queued")
    assert found["metadata"]["labels"][QUEUE] == "team-queue"
    queue = Queue(world)
    await queue.admit()
    for started in (1, 2, 3):
        await world.until(lambda job, started=started: job.state == "running" and job.starts == started)
        # Asked again in the middle of it, the Job is what it was.
        assert (await world.create()).state == "running"
        await queue.evict()
        await world.until(lambda job: job.reason == "Queued")

        async def no_pod() -> bool:
            return not await world.live_pods()

        await eventually(no_pod)
        assert (await world.create()).reason == "Queued"
        await queue.admit()
    pod = await world.one_pod()
    world.node.run = world.publishes
    world.cluster.kubectl("delete", "pod", pod, f"-n={world.namespace}", "--wait=false")
    job = await world.until(lambda job: job.ended)
    found = await world.only_job()
    assert (job.state, uid_of(found)) == ("succeeded", uid)
    assert not found["status"].get("failed")
    assert job.record.attempt.number == 1


async def test_a_job_that_was_deleted_by_hand_is_followed_by_the_next_attempt(world: World) -> None:
    world.node.run = world.trains
    await world.begin()
    await world.create()
    await world.one_pod()
    name = (await world.only_job())["metadata"]["name"]
    world.cluster.kubectl("delete", "job", name, f"-n={world.namespace}", "--wait=false")
    job = await world.until(lambda job: job.ended)
    assert (job.state, job.reason, job.retryable) == ("failed", "JobDeleted", True)
    assert await world.live_pods() == []
    await world.at("prepare", 2)
    world.node.run = world.publishes
    await world.create()
    job = await world.until(lambda job: job.ended)
    assert (job.state, job.record.attempt.number, job.starts) == ("succeeded", 2, 1)


async def test_a_cancelled_job_leaves_no_pod_and_goes_on_when_it_is_asked_for_again(world: World) -> None:
    world.node.run = world.trains
    await world.begin()
    await world.create()
    first = await world.only_job()
    await world.one_pod()
    await world.jobs.cancel(job_name(world.asked.attempt))
    await world.until(lambda job: job.state == "cancelled")
    assert await world.live_pods() == []
    assert await gone(world, JOB)
    await world.create()
    second = await world.only_job()
    assert second["metadata"]["name"] == first["metadata"]["name"]
    assert uid_of(second) != uid_of(first)
    await world.until(lambda job: job.starts == 2)


async def test_another_controller_adopts_the_job_and_one_of_somebody_else_is_left_alone(world: World) -> None:
    world.node.run = world.trains
    await world.begin()
    jobs = [world.controller() for _ in range(3)]
    await asyncio.gather(*(world.create(controller) for controller in jobs))
    await world.only_job()
    await world.at("prepare", 2)
    taken = await world.only_job()
    taken["metadata"] = {
        "name": taken["metadata"]["name"].removesuffix("1") + "2",
        "namespace": world.namespace,
    }
    for generated in ("selector", "manualSelector"):
        taken["spec"].pop(generated, None)
    taken["spec"]["template"]["metadata"].pop("labels")
    await world.api.create(JOB, taken, namespace=world.namespace)
    with pytest.raises(FailedPrecondition, match="belongs to somebody else"):
        await world.create()


async def test_nodes_of_one_training_know_their_numbers_and_where_the_first_is(world: World) -> None:
    seen: dict[str, tuple[str, str]] = {}

    async def tells(pod: FakePod) -> PodExit:
        spec = pod.object["spec"]
        index = pod.object["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"]
        seen[index] = (spec["hostname"], spec["subdomain"])
        await pod.stopping.wait()
        return PodExit(Exit.TERMINATED)

    world.node.run = tells
    await world.begin(nodes=2)
    publish_prepared(world.store, world.asked.attempt)
    await world.at("rounds/00/seed", 1)
    await world.create()

    async def both() -> bool:
        return len(seen) == 2

    await eventually(both)
    job = await world.only_job()
    service = next(
        entry
        for entry in (await world.api.list(SERVICE, namespace=world.namespace)).items
        if entry["metadata"]["name"].startswith("selfie-training-")
    )
    name = job["metadata"]["name"]
    args = job["spec"]["template"]["spec"]["containers"][0]["args"]
    assert {host for host, _ in seen.values()} == {f"{name}-0", f"{name}-1"}
    assert {subdomain for _, subdomain in seen.values()} == {service["metadata"]["name"]}
    assert f"{name}-0.{service['metadata']['name']}:29500" in args


async def test_what_keeps_a_pod_from_running_is_told(world: World) -> None:
    world.node.waits = lambda pod: Waiting("Unschedulable", "0/1 nodes have a GPU")
    world.node.run = world.trains
    await world.begin()
    await world.create()
    job = await world.until(lambda job: job.state == "pending")
    assert job.reason == "WaitingForCapacity"
    assert "0/1 nodes have a GPU" in job.message
    world.node.waits = lambda pod: Waiting("ImagePullBackOff", "no such image")
    job = await world.until(lambda job: job.reason == "ImageCannotBePulled")
    assert "no such image" in job.message
    world.node.waits = lambda pod: None
    await world.until(lambda job: job.state == "running" and job.starts == 1)


async def test_a_quota_is_waited_for(world: World) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none", "namespace": world.namespace},
        "spec": {"hard": {"count/jobs.batch": "0"}},
    }
    apply(world.cluster, quota)

    async def in_force() -> bool:
        found = world.cluster.kubectl("get", "resourcequota/none", f"-n={world.namespace}", "-o=json")
        return bool(json.loads(found).get("status", {}).get("hard"))

    await eventually(in_force)
    await world.begin()
    job = await world.create()
    assert (job.state, job.reason) == ("pending", "PodRefused")
    assert "exceeded quota" in job.message


async def test_a_run_that_is_deleted_takes_its_job_and_its_pod_along(world: World) -> None:
    world.node.run = world.trains
    await world.begin()
    await world.create()
    await world.one_pod()
    world.cluster.kubectl("delete", "selfierun", "toy", f"-n={world.namespace}", "--wait=false")
    await eventually(lambda: gone(world, JOB))
    await eventually(lambda: gone(world, POD))
    with pytest.raises(NotFound, match="there is no SelfieRun"):
        await world.create()
