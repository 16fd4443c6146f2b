"""Every field that changes what a step is asked for is one that adoption compares; none is forgotten."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from selfie.dispatch import programs, requests
from selfie.dispatch.calls import StepCall
from selfie.runs.adoption import work_of
from selfie.runs.lineage import sources_of
from selfie.runs.spec import MethodFields, SelfieRun
from selfie.runs.steps import steps_of

CHANGES: dict[str, Any] = {
    "model.uri": "hf://toy/other",
    "model.revision": "v2",
    "referenceModel": {"uri": "hf://toy/base"},
    "randomSeed": 8,
    "seed.dataset": "other.jsonl",
    "seed.heldout": "other.jsonl",
    "seed.heldoutSize": 5,
    "seed.size": 9,
    "seed.epochs": 5,
    "seed.learningRate": "2e-5",
    "rounds.0.prompts.dataset": "other.jsonl",
    "rounds.0.prompts.from": 1,
    "rounds.0.prompts.count": 7,
    "rounds.0.learningRate": "3e-6",
    "rounds.0.epochs": 4,
    "rounds.0.lambda": "0.75",
    "generation.samplesPerPrompt": 3,
    "generation.temperature": "0.9",
    "generation.topP": "0.9",
    "generation.maxNewTokens": 17,
    "generation.maxPromptTokens": 99,
    "generation.allowRetokenized": True,
    "generation.engine": "tgi",
    "scoring.judge": "longest",
    "scoring.beta": "0.2",
    "scoring.reference": "none",
    "scoring.lambda": "0.33",
    "scoring.pairing": "random",
    "scoring.lengthNormalization": "mean",
    "filter.noisyPercent": 20,
    "filter.smoothing": "0.2",
    "filter.action": "drop",
    "filter.cut": "keep",
    "filter.ties": "keep",
    "filter.duplicates": "keep",
    "filter.window": 5,
    "filter.warmupPercent": 30,
    "training.beta": "0.3",
    "training.learningRate": "4e-6",
    "training.epochs": 3,
    "training.batch": 4,
    "training.lora": {"rank": 4, "alpha": 8},
    "training.pairs": "seed",
    "training.refinement": "offline",
    "training.threshold": "parity",
    "training.initialPolicy": "initial",
    "training.precision": "bfloat16",
    "evaluation.prompts.dataset": "other.jsonl",
    "evaluation.prompts.from": 15,
    "evaluation.prompts.count": 7,
    "evaluation.samples": 2,
    "evaluation.evaluator": "none",
    "evaluation.evaluatorPairs": 99,
}
# They choose what is done or told, and not what any step makes of its inputs.
DECIDE_NOTHING = {"evaluation.initial", "model.secretRef.name"}
NOT_OF_STEPS = ("evaluation.gates.", "artifacts.", "resumeFrom")


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Dotted paths of a record's fields; the first of a list stands for all."""
    for name, field in model.model_fields.items():
        path = f"{prefix}{field.alias or name}"
        inner = [kind for kind in _kinds(field.annotation) if issubclass(kind, BaseModel)]
        if inner and path not in ("training.lora", "referenceModel"):
            many = "0." if "tuple" in str(field.annotation) else ""
            yield from leaves(inner[0], f"{path}.{many}")
        else:
            yield path


def _kinds(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _kinds(argument)
    if (origin := getattr(annotation, "__value__", None)) is not None:
        yield from _kinds(origin)


def with_field(run: SelfieRun, path: str, value: Any) -> SelfieRun:
    document = copy.deepcopy(run.model_dump(mode="json", by_alias=True))
    place = document["spec"]
    *parents, last = path.split(".")
    for part in parents:
        place = place[int(part) if part.isdigit() else part]
    place[last] = value
    return SelfieRun.model_validate(document)


def asked(call: StepCall) -> bytes:
    """What the step's service is asked for, apart from who asks."""
    match call.step.name:
        case "generate" | "evaluate-samples" | "evaluate-initial":
            request = requests.generate_dataset(call)
            request.shard_rows = 1  # the size of shards changes no row
            return request.SerializeToString(deterministic=True)
        case "serve":
            return requests.verify_engine(call).SerializeToString(deterministic=True)
        case "filter":
            return requests.filter_dataset(call).SerializeToString(deterministic=True)
        case "score" | "evaluate-heldout" | "evaluate-measures":
            request = requests.score_dataset(call)
            request.shard_rows = 1
            return request.SerializeToString(deterministic=True)
        case _:
            return programs.create_job(call, Path("/cache")).SerializeToString(deterministic=True)


def comparable(call: StepCall, other: SelfieRun) -> StepCall | None:
    """The same call for the other run, where that has the step and reads the same for it."""
    if call.step not in steps_of(other.spec):
        return None
    sources = sources_of(other.spec, call.step, ())
    if sources != sources_of(call.run.spec, call.step, ()):
        return None
    return replace(call, run=other)


def test_every_field_of_the_method_is_considered():
    known = set(CHANGES) | DECIDE_NOTHING
    found = {path for path in leaves(MethodFields) if not path.startswith(NOT_OF_STEPS)}
    assert found - known == set()


@pytest.mark.parametrize("path", CHANGES)
def test_what_changes_a_request_is_compared(make_call, path: str):
    base = make_call("prepare").run
    other = with_field(base, path, CHANGES[path])
    assert other != base
    for step in steps_of(base.spec):
        # The card names the run; and prompts of rounds are compared group by group, not as a whole.
        if step.name == "publish" or (step.name == "prepare" and path.startswith("rounds.")):
            continue
        call = make_call(step.path)
        same = comparable(call, other)
        if same is not None and asked(call) != asked(same):
            assert work_of(base.spec, step) != work_of(other.spec, step), step.path
