"""Trainings of the fault bench that go on for as long as a test wants them to."""

import asyncio

from cluster.fake_pods import FakePod
from cluster.pod_statuses import Exit as PodExit
from fault_bench import Bench
from fault_stage import Stage
from selfie.artifacts.exits import Exit
from selfie.kube.objects import JOB, Object


class Held:
    """Trainings of one step go on until they are let go, or told to stop."""

    def __init__(self, bench: Bench, stage: Stage, step: str) -> None:
        self.stage, self.step, self.let_go = stage, step, False
        self.pods: list[Object] = []
        bench.work.behave = self.behave

    async def behave(self, pod: FakePod) -> PodExit | None:
        if pod.namespace != self.stage.namespace or self.step not in pod.arguments:
            return None
        self.pods.append(pod.object)
        while not self.let_go:
            if pod.stopping.is_set():
                return PodExit(Exit.TERMINATED)
            await asyncio.sleep(0.05)
        return None

    async def trains(self, number: int) -> None:
        """Waits until the step was started this often."""
        await self.stage.until(lambda: len(self.pods) >= number)


async def jobs_of(stage: Stage, step: str) -> list[Object]:
    """The Jobs of a step."""
    labels = {"selfie.dev/step": step.replace("/", ".")}
    return (await stage.bench.api.list(JOB, namespace=stage.namespace, labels=labels)).items
