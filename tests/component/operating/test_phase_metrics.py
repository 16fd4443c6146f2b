"""What Prometheus is told of runs, as it is scraped."""

from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from selfie_operator.health import Vitals
from selfie_operator.phase_metrics import PHASES, told_of
from selfie_operator.probes import serve_probes
from simulated_release import SimulatedRelease

WELL = Vitals(
    watches={"jobs": 1}, refusals={}, reached=1, stuck=0, look=120, lag=0, synced=True, lost_lease=False
)
RUN: dict[str, Any] = {
    "apiVersion": "selfie.dev/v1alpha1",
    "kind": "SelfieRun",
    "metadata": {"name": "toy"},
    "spec": {
        "model": {"uri": "hf://toy/model"},
        "seed": {"dataset": "seed.jsonl", "heldout": "heldout.jsonl"},
        "rounds": [{"prompts": {"dataset": "prompts.jsonl", "count": 8}}],
    },
}
LABELS = {"verb", "resource", "code", "result", "reason", "phase", "stage", "outcome", "le"}
OPERATORS = ("selfie_operator_", "selfie_runs", "selfie_attempts_", "selfie_round_stage_")
"""Families of the operator itself; what runs and other services tell has tests of its own."""

Samples = dict[str, dict[tuple[tuple[str, str], ...], float]]


async def scraped() -> Samples:
    """Samples of ours by their labels, by name."""
    async with (
        serve_probes("127.0.0.1", 0, lambda: WELL) as port,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/metrics") as answer,
    ):
        text = await answer.text()
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith("selfie_"):
                found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def run(name: str, *conditions: str, reason: str = "Because", **status: Any) -> dict[str, Any]:
    told = [{"type": kind, "status": "True", "reason": reason} for kind in conditions]
    return {
        "metadata": {"namespace": "team", "name": name},
        "status": {"conditions": [*told, {"type": "Reconciling", "status": "False"}], **status},
    }


EACH = {
    "pending": {"metadata": {"namespace": "team", "name": "pending"}},
    "queued": run("queued", "Suspended", reason="Queued"),
    "suspended": run("suspended", "Suspended", attempt=1, round=1, stage="train"),
    "active": run("active", attempt=2, round=3, stage="generate", fraction=0.25),
    "stalled": run("stalled", "Stalled", attempt=1, round=0, stage="prepare"),
    "complete": run("complete", "Complete", attempt=1, round=3, stage="serve", fraction=1),
    "failed": run("failed", "Failed", "Stalled", attempt=1, round=1, stage="train"),
}


def labels(**told: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(told.items()))


async def test_each_run_is_counted_in_one_phase_and_none_is_left_out() -> None:
    assert set(EACH) == set(PHASES)
    with told_of([*EACH.values(), EACH["active"]]):
        counts = (await scraped())["selfie_runs"]
    assert counts == {labels(phase=phase): 2 if phase == "active" else 1 for phase in PHASES}


async def test_a_process_that_does_not_act_tells_of_no_runs() -> None:
    with told_of([EACH["active"]]):
        pass
    assert "selfie_runs" not in await scraped()


async def test_a_runs_stages_attempts_and_end_are_told() -> None:
    before = await scraped()
    release = SimulatedRelease()
    release.services.fails["rounds/01/train", 1] = {"message": "x", "reason": "OOMKilled", "retryable": True}
    key = release.apply(RUN)
    await release.drive(key)
    after = await scraped()

    def grown(name: str, **told: str) -> float:
        return after[name][labels(**told)] - before.get(name, {}).get(labels(**told), 0)

    assert grown("selfie_runs_ended_total", outcome="complete") == 1
    assert grown("selfie_attempts_failed_total", stage="train") == 1
    stages = {"prepare": 1, "seed": 1, "train": 1, "generate": 1, "score": 1, "filter": 1, "publish": 2}
    found = {stage: grown("selfie_round_stage_duration_seconds_count", stage=stage) for stage in stages}
    assert found == stages
    # The pause before the second attempt is a part of it.
    assert grown("selfie_round_stage_duration_seconds_sum", stage="train") >= 10


async def test_names_and_labels_are_such_as_prometheus_wants() -> None:
    with told_of(EACH.values()):
        found = await scraped()
    own = {name: samples for name, samples in found.items() if name.startswith(OPERATORS)}
    assert own
    for name, samples in own.items():
        assert {label for told in samples for label, _ in told} <= LABELS, name
        assert not name.endswith(("_ms", "_percent", "_bytes_total_total")), name
