"""What the programs of a run are told to do: parameters made from its specification and its inputs.

Pure and below everybody who needs it: who asks for a job makes them, and a training controller that
takes nothing on trust makes them again.
"""

import hashlib
import math
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

from selfie.runs.lineage import Input
from selfie.runs.resolving import pairs_at_once, settings_of
from selfie.runs.sources import PromptSlice
from selfie.runs.spec import RunSpec, SelfieRun
from selfie.runs.steps import Step

ProgramName: TypeAlias = Literal["adopt", "prepare", "train", "publish", "rate"]

PROGRAM_OF: Final[Mapping[str, ProgramName]] = {
    "adopt": "adopt",
    "prepare": "prepare",
    "seed": "train",
    "train": "train",
    "publish": "publish",
    "evaluator": "rate",
    "evaluate-ratings": "rate",
}
"""The program that carries a step out, by the step's name; other steps go to services."""

_RATED_BY = frozenset({"pairs", "heldout", "samples", "evaluator"})


def parameters_of(run: SelfieRun, step: Step, inputs: Mapping[str, Input]) -> dict[str, Any]:
    """Everything that decides what the step's program does, as plain JSON.

    Not in it is what depends on who asks: the attempt, and a directory for files on their way.
    """
    match step.name:
        case "adopt":
            return {"run": run.model_dump(mode="json", by_alias=True)}
        case "prepare":
            return _prepare(run.spec, added=step.round)
        case "publish":
            return _publish(run, step, inputs)
        case "evaluator" | "evaluate-ratings":
            return _rate(inputs)
        case _:
            return _train(run.spec, step, inputs)


def random_seed(spec: RunSpec, step: Step, *, bits: int = 63) -> int:
    """The step's own seed; attempts at one step share it, so that a repeated step is the same."""
    text = f"{spec.random_seed}/{step.path}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> (64 - bits)


def _prepare(spec: RunSpec, *, added: int) -> dict[str, Any]:
    # A round that was added later wants its prompts; labelled pairs were prepared with the first ones.
    seed = spec.seed if not added else None
    evaluation = spec.evaluation.prompts if not added else None
    fitted = spec.evaluation.evaluator == "bradleyTerry" and not added
    return {
        "model": _model(spec.model.uri, spec.model.revision),
        "referenceModel": _model(spec.reference_model.uri, spec.reference_model.revision)
        if spec.reference_model
        else None,
        "seed": {"dataset": seed.dataset, "size": seed.size} if seed else None,
        "heldout": {"dataset": seed.heldout, "size": seed.heldout_size} if seed and seed.heldout else None,
        "rounds": [_slice(entry.prompts) for entry in spec.rounds],
        "evaluation": _slice(evaluation) if evaluation else None,
        "evaluatorPairs": spec.evaluation.evaluator_pairs if fitted else 0,
        "maxPromptTokens": spec.generation.max_prompt_tokens,
        "randomSeed": spec.random_seed,
    }


def _model(uri: str, revision: str | None) -> dict[str, Any]:
    return {"uri": uri, "revision": revision}


def _slice(prompts: PromptSlice) -> dict[str, Any]:
    return {"dataset": prompts.dataset, "from": prompts.from_, "count": prompts.count}


def _publish(run: SelfieRun, step: Step, inputs: Mapping[str, Input]) -> dict[str, Any]:
    return {
        "source": _weights(inputs["checkpoint"]),
        "runName": run.metadata.name,
        "round": step.round,
        "baseModel": run.spec.model.uri,
    }


def _rate(inputs: Mapping[str, Input]) -> dict[str, Any]:
    files = {role: _files(entry) for role, entry in inputs.items() if role in _RATED_BY}
    kind = "rate" if "evaluator" in files else "fit"
    return {"kind": kind, "initial": _weights(inputs["initial"]), **files}


def _train(spec: RunSpec, step: Step, inputs: Mapping[str, Input]) -> dict[str, Any]:
    number = step.round
    settings = settings_of(spec, number)
    policy = _weights(inputs["policy"])
    labelled = inputs["pairs"].source.group == "seed"
    return {
        "kind": "seed" if labelled else "round",
        "policy": policy,
        "initialPolicy": spec.training.initial_policy,
        "initial": _weights(inputs["reference"]) if spec.training.initial_policy == "initial" else None,
        "pairs": _files(inputs["pairs"]),
        "beta": float(spec.training.beta),
        "learningRate": settings.learning_rate,
        "epochs": settings.epochs,
        "batch": spec.training.batch,
        "lora": spec.training.lora.model_dump(by_alias=True) if spec.training.lora else None,
        "precision": spec.training.precision,
        "randomSeed": random_seed(spec, step, bits=32),
        "maxSteps": _steps_as_with_own_pairs(spec, number) if labelled and number > 0 else 0,
        # The seed's labels are people's: there is nothing to refine.
        **({"refinement": "none"} if labelled else _noise(spec, settings.lambda_)),
        "microBatch": pairs_at_once(spec),
        "checkpointSeconds": float(spec.checkpoint_seconds),
    }


def _noise(spec: RunSpec, lam: float) -> dict[str, Any]:
    return {
        "refinement": spec.training.refinement,
        "threshold": spec.training.threshold,
        "smoothing": float(spec.filter.smoothing),
        "noisyPercent": float(spec.filter.noisy_percent),
        "window": spec.filter.window,
        "warmupPercent": float(spec.filter.warmup_percent),
        "lambda": lam,
    }


def _steps_as_with_own_pairs(spec: RunSpec, number: int) -> int:
    """Optimizer steps of a control on the seed's pairs: as many as one pair for each prompt would take."""
    epochs = settings_of(spec, number).epochs
    return epochs * math.ceil(spec.rounds[number - 1].prompts.count / spec.training.batch)


def _files(entry: Input) -> dict[str, Any]:
    return {
        "path": f"{entry.source.step}/manifest.json",
        "sha256": entry.manifest_sha256,
        "group": entry.source.group,
    }


def _weights(entry: Input) -> dict[str, Any]:
    return {"step": entry.source.step, "group": entry.source.group, "digest": entry.weights_digest}
