"""Fault case 26: what operator and training controller may do, and what they have done, are the same."""

import asyncio
from collections.abc import Mapping

import pytest

from cluster.fake_pods import FakePod
from cluster.pod_statuses import Exit as PodExit
from fault_bench import Bench
from fault_stage import Stage
from releases import RELEASE
from reliability import report
from selfie.artifacts.exits import Exit
from selfie.kube.labels import COMPONENT, RUN_UID
from selfie.kube.objects import DEPLOYMENT, SELFIE_RUN, Object, uid_of
from selfie.runs.conditions import has_status

Rule = tuple[str, str, str]

HELD = "rounds/01/train"

pytestmark = pytest.mark.timeout(900)


def granted(bench: Bench, component: str) -> set[Rule]:
    """(group, resource, verb) of the Role in the chart."""
    rules = bench.rendered.of("Role")[f"{RELEASE}-{component}"]["rules"]
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def used(stage: Stage, component: str) -> set[Rule]:
    """The same of all requests that were let through."""
    account = f"{stage.namespace}:{RELEASE}-{component}"
    return {
        event.rule
        for event in stage.bench.audit.of(stage.namespace)
        if event.account == account and event.code not in {0, 401, 403}
    }


def refused(stage: Stage) -> set[Rule]:
    return {
        event.rule
        for event in stage.bench.audit.of(stage.namespace)
        if event.account.startswith(stage.namespace) and event.code == 403
    }


class Life:
    """A run that meets, once each, whatever a right is granted for."""

    def __init__(self, bench: Bench, stage: Stage) -> None:
        self.stage, self.starts, self.let_go = stage, 0, False
        bench.work.behave = self.behave

    async def behave(self, pod: FakePod) -> PodExit | None:
        if HELD not in pod.arguments:
            return None
        self.starts += 1
        if self.starts == 1:
            # It ends without having said why, and its log is all that there is.
            pod.say("Segmentation fault")
            return PodExit(Exit.FAILED)
        while not self.let_go:
            if pod.stopping.is_set():
                return PodExit(Exit.TERMINATED)
            await asyncio.sleep(0.05)
        return None

    async def lived(self) -> None:
        stage = self.stage
        run = await stage.apply(nodes=2, retries=3, ttlSecondsAfterFinished=5)
        stage.bench.work.hangs.add(uid_of(run))
        operator = stage.operate(call_seconds=3)
        await stage.come_to("rounds/01/score", seconds=240)
        await self.scale(run)
        stage.bench.work.hangs.clear()
        await stage.until(lambda: self.starts >= 2, seconds=240)
        for _ in range(2):
            # Said two times, it is one Event with a count.
            for wanted in (True, False):
                await stage.change({"spec": {"suspend": wanted}})
                await stage.until(
                    lambda wanted=wanted: has_status(stage.status().conditions, "Suspended", "True") == wanted
                )
        operator.kill()
        self.let_go = True
        await stage.until(lambda: stage.run() is None, seconds=400)
        await asyncio.sleep(8)

    async def scale(self, run: Object) -> None:
        """Changes a Deployment that is there."""
        api, space = self.stage.bench.api, self.stage.namespace
        labels = {RUN_UID: uid_of(run), COMPONENT: "scoring"}
        while (replicas := await self.replicas(labels)) != [2]:
            if replicas == [1]:
                await api.patch(SELFIE_RUN, "run", {"spec": {"replicas": {"scoring": 2}}}, namespace=space)
            await asyncio.sleep(1)

    async def replicas(self, labels: Mapping[str, str]) -> list[int]:
        api, space = self.stage.bench.api, self.stage.namespace
        found = await api.list(DEPLOYMENT, namespace=space, labels=labels)
        return [item["spec"]["replicas"] for item in found.items]


async def test_what_is_granted_is_used_and_nothing_else_is_asked_for(bench: Bench) -> None:
    async with bench.stage() as stage:
        await Life(bench, stage).lived()
        figures: Mapping[str, Mapping[str, list[str]]] = {
            component: {
                "granted and not used": _told(granted(bench, component) - used(stage, component)),
                "used and not granted": _told(used(stage, component) - granted(bench, component)),
            }
            for component in ("operator", "training")
        }
        denied = _told(refused(stage))
    report(
        "26",
        fault="audit log of a whole run against the rules of the chart's Roles",
        rules={component: len(granted(bench, component)) for component in figures},
        differences=figures,
        refused=denied,
    )
    assert denied == []
    assert [entry for found in figures.values() for entry in found.values() if entry] == []


def _told(rules: set[Rule]) -> list[str]:
    return sorted(f"{verb} {resource}{'.' + group if group else ''}" for group, resource, verb in rules)
