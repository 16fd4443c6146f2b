"""A real Prometheus with the chart's configuration over a real run: what panels and alerts see."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
import yaml

from certificates import Authority, Files
from charts import CHART, VALUES, Rendered, found_helm
from cluster.ports import free_ports
from cluster.running import Cluster
from clusters import started_or_skipped
from killing import write_run
from prometheus import alerts
from releases import install_crd
from scraping import NAMESPACE, Prometheus, scraping
from selfie.v1 import artifacts_pb2, scoring_pb2, scoring_pb2_grpc
from stand_ins import StandIns
from waiting import until

ROOT = Path(__file__).resolve().parents[2]
RELEASE = "r"
RUN_SECONDS = 900
BOARDS = {path.stem: json.loads(path.read_text()) for path in sorted(CHART.glob("dashboards/*.json"))}

# What is not brought about here: Jobs of a cluster, a watch that breaks, and servers on accelerators.
STAND_IN_PANELS = re.compile(
    r"selfie_training_(api|jobs)_|selfie_round_stage_|selfie_operator_watch_restarts|tgi_|vllm:"
)
STAND_IN_ALERTS = {
    "SelfieOperatorNoLeader",
    "SelfieOperatorTwoLeaders",
    "SelfieWatchStale",
    "SelfieQueueStuck",
    "SelfieReconcileErrorRatio",
    "SelfieStageNearDeadline",
    "SelfieRunFailed",
    "SelfieGateCrossed",
    "SelfieFilterKeepRatioOutOfRange",
    "SelfieScorerErrorBudgetBurn",
    "SelfieScorerLatencyP99",
}


def panels() -> Iterator[tuple[str, str, list[str]]]:
    """Board, title and expressions of each panel, with what a user chooses put in."""
    for board, data in BOARDS.items():
        for panel in data["panels"]:
            found = [target["expr"] for target in panel.get("targets", ())]
            if found:
                chosen = [entry.replace("$namespace", ".*").replace("$run", "tiny") for entry in found]
                yield board, panel["title"], chosen


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{ROOT}/services:{ROOT}/operator", "OMP_NUM_THREADS": "1"}


@contextmanager
def started(folder: Path, name: str, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A process of ours, which ends with the block."""
    command = [sys.executable, "-m", *arguments]
    with (
        (folder / f"{name}.log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=environment()) as process,
    ):
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(60)
            finally:
                process.kill()


@dataclass
class Seen:
    """What Prometheus had data for: panels by board and title, alerts by name."""

    real_panels: set[tuple[str, str]] = field(default_factory=set)
    stand_in_panels: set[tuple[str, str]] = field(default_factory=set)
    real_alerts: set[str] = field(default_factory=set)
    stand_in_alerts: set[str] = field(default_factory=set)
    scorer_was_seen_to_go: bool = False
    queries_without_data: dict[str, list[str]] = field(default_factory=dict)


@pytest.fixture(scope="module")
def rendered() -> Rendered:
    text = found_helm().run(
        "template",
        RELEASE,
        str(CHART),
        f"-n={NAMESPACE}",
        f"-f={VALUES['everything']}",
        "--set=fullnameOverride=",
    )
    return Rendered([entry for entry in yaml.safe_load_all(text) if entry])


@pytest.fixture(scope="module")
def seen(rendered: Rendered, tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Seen:
    """A run from its beginning to its end, a scorer that is asked, and then what cannot be had here."""
    folder = tmp_path_factory.mktemp("watched")
    [port] = free_ports(1)
    found = Seen()
    with ExitStack() as stack:
        stand_ins = StandIns()
        urls = (f"http://127.0.0.1:{port}/targets", stack.enter_context(stand_ins.served()))
        prometheus = stack.enter_context(scraping(rendered, urls, folder))
        scorer = Scorer(folder, tiny_checkpoint)
        process = stack.enter_context(scorer.running())
        stand_ins.add("scorer", scorer.metrics_address())
        operator = Operator(folder, rendered, stack.enter_context(started_or_skipped("control-plane")))
        operating = stack.enter_context(operator.running())
        stand_ins.add("operator", operator.metrics_address())
        file = write_run(folder, tiny_checkpoint)
        # Prometheus takes up to five seconds to turn to a process that it has just been told of.
        longer = "  deadlines: {stageSeconds: 3600}\n  gpu: separate\n"
        file.write_text(
            file.read_text().replace("maxNewTokens: 24", "samplesPerPrompt: 8, maxNewTokens: 160") + longer
        )
        arguments = (
            "selfie.cli",
            "run",
            str(file),
            f"--artifacts={folder / 'runs'}",
            f"--metrics-port={port}",
        )
        run = stack.enter_context(started(folder, "run", *arguments))
        until(lambda: prometheus.now("selfie_operator_is_leader == 1"), seconds=120)
        operator.begins_a_run()
        deadline = time.monotonic() + RUN_SECONDS
        while run.poll() is None:
            assert time.monotonic() < deadline, (folder / "run.log").read_text()[-2000:]
            asyncio.run(scorer.asked())
            time.sleep(2)
        assert run.returncode == 0, (folder / "run.log").read_text()[-2000:]
        time.sleep(3)
        _look(prometheus, found.real_panels, found.real_alerts, found)
        print("without stand-ins:", sorted(found.queries_without_data), sorted(found.real_alerts))
        stand_ins.remove("operator")
        stand_ins.show()
        for ended in (process, operating):
            ended.send_signal(signal.SIGTERM)
            ended.wait(120)
        time.sleep(45)
        found.scorer_was_seen_to_go = bool(prometheus.now(f'up{{job="{RELEASE}-scorer"}} == 0'))
        _look(prometheus, found.stand_in_panels, found.stand_in_alerts, found)
    return found


def _look(prometheus: Prometheus, seen: set[tuple[str, str]], fired: set[str], found: Seen) -> None:
    for board, title, expressions in panels():
        without = [entry for entry in expressions if not prometheus.has_data(entry)]
        if without:
            found.queries_without_data[f"{board}: {title}"] = without
        else:
            found.queries_without_data.pop(f"{board}: {title}", None)
            seen.add((board, title))
    for alert in alerts():
        if prometheus.has_data(f'ALERTS{{alertname="{alert}", alertstate="firing"}}'):
            fired.add(alert)


class Operator:
    """A real one on a control plane of its own, with a run whose store cannot be reached."""

    def __init__(self, folder: Path, rendered: Rendered, cluster: Cluster) -> None:
        self._folder = folder
        self._cluster = cluster
        self._ports = folder / "operator.json"
        self._pods = folder / "pods.yaml"
        self._pods.write_text(yaml.safe_dump(rendered.run_pods()))

    @contextmanager
    def running(self) -> Iterator["subprocess.Popen[bytes]"]:
        kubectl = self._cluster.kubectl
        install_crd(self._cluster)
        kubectl("create", "namespace", NAMESPACE)
        arguments = (
            f"--kubeconfig={self._cluster.kubeconfig}",
            f"--namespace={NAMESPACE}",
            "--port=0",
            f"--port-file={self._ports}",
            f"--pods={self._pods}",
            "--artifacts-root=file:///dev/null/runs",
        )
        with started(self._folder, "operator", "selfie_operator", *arguments) as process:
            until(self._ports.exists, seconds=180)
            yield process

    def metrics_address(self) -> str:
        return f"127.0.0.1:{json.loads(self._ports.read_text())['port']}"

    def begins_a_run(self) -> None:
        """Once it is watched, so that what comes of it is counted from nothing."""
        self._cluster.kubectl("apply", "-f", str(ROOT / "examples/quickstart.yaml"), f"-n={NAMESPACE}")


class Scorer:
    """A public scorer of its own process, with a certificate that is about to run out, and few places."""

    def __init__(self, folder: Path, checkpoint: Path) -> None:
        self._folder = folder
        self._checkpoint = checkpoint
        self._authority = Authority("test")
        self._files = Files(folder)
        self._files.write(self._authority.signed("scorer"))
        self._ports = folder / "ports.json"
        self._asked = 0
        self._place = (folder / "elsewhere").as_uri()

    @contextmanager
    def running(self) -> Iterator["subprocess.Popen[bytes]"]:
        arguments = (
            f"--policy={self._checkpoint}",
            f"--reference={self._checkpoint}",
            f"--tls-certificate={self._files.certificate}",
            f"--tls-key={self._files.key}",
            f"--port-file={self._ports}",
            "--caller-calls-at-once=1",
            f'--artifact-roots=["file:///dev/null", "{self._place}"]',
        )
        with started(self._folder, "scorer", "selfie.scoring", *arguments) as process:
            until(self._ports.exists, seconds=180)
            yield process

    def metrics_address(self) -> str:
        return f"127.0.0.1:{json.loads(self._ports.read_text())['metricsPort']}"

    async def asked(self) -> None:
        """Calls, of which some find no room; work for other weights, once in a place that is no directory."""
        credentials = grpc.ssl_channel_credentials(self._authority.certificate)
        target = f"127.0.0.1:{json.loads(self._ports.read_text())['port']}"
        async with grpc.aio.secure_channel(target, credentials) as channel:
            stub = scoring_pb2_grpc.ScoringServiceStub(channel)
            # A response that was asked about before is remembered, so each time there is a new one.
            self._asked += 1
            question = _question(self._asked)
            answer = await stub.Score(question, timeout=60)
            assert len(answer.responses) == 2
            for place in ("file:///dev/null/run", f"{self._place}/run"):
                with suppress(grpc.aio.AioRpcError):
                    await stub.ScoreDataset(_for_other_weights(place), timeout=60)
            together = (stub.Score(question, timeout=60) for _ in range(6))
            await asyncio.gather(*together, return_exceptions=True)


def _question(number: int) -> scoring_pb2.ScoreRequest:
    return scoring_pb2.ScoreRequest(
        prompt=scoring_pb2.PromptInput(text=f"tell me {number} things of the sea"),
        responses=[scoring_pb2.ResponseInput(text=text) for text in ("the cat sat on the mat", "we had tea")],
    )


def _for_other_weights(run_uri: str) -> scoring_pb2.ScoreDatasetRequest:
    weights = artifacts_pb2.Weights(step="prepare", group="model", digest="0" * 64)
    ref = artifacts_pb2.ManifestRef(path="prepare/manifest.json", sha256="0" * 64)
    return scoring_pb2.ScoreDatasetRequest(
        request_id=str(uuid.uuid4()),
        attempt=artifacts_pb2.Attempt(run_uri=run_uri, step="rounds/01/score", number=1, run_uid="u"),
        input=ref,
        group="samples",
        kind=scoring_pb2.DATASET_KIND_SAMPLES,
        policy=weights,
        reference=weights,
        beta=0.1,
        normalization=scoring_pb2.NORMALIZATION_SUM,
        judge=scoring_pb2.JUDGE_IMPLICIT,
        shard_rows=1,
    )


def is_stand_in(expressions: list[str]) -> bool:
    return any(STAND_IN_PANELS.search(entry) for entry in expressions)


EVERY = list(panels())


@pytest.mark.timeout(1500)
def test_every_panel_of_what_runs_here_has_data(seen: Seen) -> None:
    wanted = {(board, title) for board, title, expressions in EVERY if not is_stand_in(expressions)}
    assert wanted - seen.real_panels == set(), seen.queries_without_data


@pytest.mark.timeout(1500)
def test_every_other_panel_has_data_of_a_stand_in(seen: Seen) -> None:
    wanted = {(board, title) for board, title, expressions in EVERY if is_stand_in(expressions)}
    assert wanted - seen.stand_in_panels == set(), seen.queries_without_data


@pytest.mark.timeout(1500)
def test_every_alert_that_can_be_brought_about_here_fires(seen: Seen) -> None:
    wanted = set(alerts()) - STAND_IN_ALERTS - {"SelfieServiceDown"}
    assert wanted - seen.real_alerts == set()
    assert seen.scorer_was_seen_to_go


@pytest.mark.timeout(1500)
def test_no_other_alert_fired_while_all_was_well(seen: Seen) -> None:
    # An operator that has just been started does not lead yet; the alert waits five minutes.
    assert seen.real_alerts & STAND_IN_ALERTS <= {"SelfieOperatorNoLeader"}


@pytest.mark.timeout(1500)
def test_every_other_alert_fires_with_a_stand_in(seen: Seen) -> None:
    assert STAND_IN_ALERTS - seen.stand_in_alerts == set()


def test_the_page_tells_how_many_panels_are_proven_by_what() -> None:
    told = (ROOT / "docs/monitoring.md").read_text()
    for board, data in BOARDS.items():
        mine = [expressions for name, _, expressions in EVERY if name == board]
        stand_in = sum(is_stand_in(expressions) for expressions in mine)
        title = data["title"].removeprefix("Selfie / ")
        row = f"| {title} | {len(mine)} | {len(mine) - stand_in} | {stand_in} |"
        assert row in told, row
