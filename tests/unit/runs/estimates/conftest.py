"""Runs to estimate: the quickstart with its real sizes, and any specification around a small one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from selfie.runs.estimates.data import EVALUATION, HELDOUT, SEED, Case, PairSizes, PromptSizes, RunData
from selfie.runs.estimates.lengths import Length
from selfie.runs.estimates.shapes import COMMON
from selfie.runs.lineage import prompt_group
from selfie.runs.load import parse_run, run_from_object
from selfie.runs.spec import RunSpec

ROOT = Path(__file__).resolve().parents[4]
SMOLLM = COMMON["SmolLM2-135M"]


def prompts(rows: int) -> PromptSizes:
    return PromptSizes(rows, Length(30, 33, 34), "given")


@pytest.fixture(scope="session")
def quickstart() -> Case:
    """examples/quickstart.yaml, with the lengths that its data has."""
    spec = parse_run((ROOT / "examples/quickstart.yaml").read_text()).spec
    data = RunData(
        {
            SEED: PairSizes(48, Length(29.6, 33, 34), "given", Length(39.1, 46, 49)),
            HELDOUT: PairSizes(64, Length(29.8, 32, 34), "given", Length(43.5, 52, 56)),
        },
        {"prompts-round-01": prompts(32), "prompts-round-02": prompts(32), EVALUATION: prompts(24)},
    )
    return Case(spec, SMOLLM, SMOLLM, data)


@pytest.fixture(scope="session")
def case_of() -> Callable[..., Case]:
    """A case around a specification that is changed by key; sizes follow from its counts."""

    def make(
        *, counts: tuple[int, ...] = (40,), heldout: int = 0, evaluation: int = 0, seed: int = 30, **changes
    ) -> Case:
        rounds = [{"prompts": {"dataset": "p.jsonl", "count": count}} for count in counts]
        plain = {"model": {"uri": "m"}, "rounds": rounds}
        if seed:
            plain["seed"] = {"dataset": "s.jsonl", **({"heldout": "h.jsonl"} if heldout else {})}
        else:
            plain["referenceModel"] = {"uri": "r"}
        if evaluation:
            plain["evaluation"] = {"prompts": {"dataset": "e.jsonl"}}
        spec = _spec({**plain, **changes})
        pairs = {SEED: seed, HELDOUT: heldout if seed else 0}
        answer = Length(60, 100, 150)
        return Case(
            spec,
            SMOLLM,
            SMOLLM,
            RunData(
                {
                    name: PairSizes(rows, Length(80, 160, 200), "given", answer)
                    for name, rows in pairs.items()
                    if rows
                },
                {
                    **{prompt_group(n): prompts(count) for n, count in enumerate(counts, start=1)},
                    **({EVALUATION: prompts(evaluation)} if evaluation else {}),
                },
            ),
        )

    return make


def _spec(spec: dict) -> RunSpec:
    head = {"apiVersion": "selfie.dev/v1alpha1", "kind": "SelfieRun", "metadata": {"name": "toy"}}
    return run_from_object({**head, "spec": spec}).spec
