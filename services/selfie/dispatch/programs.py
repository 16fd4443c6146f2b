"""Parameters of the programs that the training controller starts, made from a SelfieRun."""

import json
import math
from pathlib import Path
from typing import Any

from selfie.dispatch.calls import StepCall
from selfie.runs.lineage import Input
from selfie.runs.resolving import pairs_at_once, settings_of
from selfie.runs.sources import PromptSlice
from selfie.runs.spec import RunSpec
from selfie.v1 import training_pb2

PROGRAMS = {
    "adopt": training_pb2.PROGRAM_ADOPT,
    "prepare": training_pb2.PROGRAM_PREPARE,
    "seed": training_pb2.PROGRAM_TRAIN,
    "train": training_pb2.PROGRAM_TRAIN,
    "publish": training_pb2.PROGRAM_PUBLISH,
    "evaluator": training_pb2.PROGRAM_RATE,
    "evaluate-ratings": training_pb2.PROGRAM_RATE,
}


_RATED_BY = frozenset({"pairs", "heldout", "samples", "evaluator"})


def create_job(call: StepCall, cache_dir: Path) -> training_pb2.CreateTrainingJobRequest:
    """For every step that is a program; in ``cache_dir`` it may keep files."""
    match call.step.name:
        case "adopt":
            parameters = {"run": call.run.model_dump(mode="json", by_alias=True)}
        case "prepare":
            parameters = _prepare(call.run.spec, added=call.step.round)
        case "publish":
            parameters = _publish(call)
        case "evaluator" | "evaluate-ratings":
            parameters = _rate(call)
        case _:
            parameters = _train(call)
    attempt = {
        "runUri": call.run_uri,
        "step": call.step.path,
        "number": call.attempt,
        "runUid": call.run_uid,
    }
    body = {"attempt": attempt, "cacheDir": str(cache_dir), **parameters}
    return training_pb2.CreateTrainingJobRequest(
        request_id=call.request_id,
        attempt=call.attempt_message(),
        program=PROGRAMS[call.step.name],
        parameters_json=json.dumps(body, sort_keys=True),
    )


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


def _publish(call: StepCall) -> dict[str, Any]:
    number = call.step.round
    return {
        "source": _weights(call.inputs["checkpoint"]),
        "runName": call.run.metadata.name,
        "round": number,
        "baseModel": call.run.spec.model.uri,
    }


def _rate(call: StepCall) -> dict[str, Any]:
    files = {role: _files(entry) for role, entry in call.inputs.items() if role in _RATED_BY}
    kind = "rate" if "evaluator" in files else "fit"
    return {"kind": kind, "initial": _weights(call.inputs["initial"]), **files}


def _train(call: StepCall) -> dict[str, Any]:
    spec, number = call.run.spec, call.step.round
    settings = settings_of(spec, number)
    policy = _weights(call.inputs["policy"])
    labelled = call.inputs["pairs"].source.group == "seed"
    return {
        "kind": "seed" if labelled else "round",
        "policy": policy,
        "initialPolicy": spec.training.initial_policy,
        "initial": _weights(call.inputs["reference"]) if spec.training.initial_policy == "initial" else None,
        "pairs": _files(call.inputs["pairs"]),
        "beta": float(spec.training.beta),
        "learningRate": settings.learning_rate,
        "epochs": settings.epochs,
        "batch": spec.training.batch,
        "lora": spec.training.lora.model_dump(by_alias=True) if spec.training.lora else None,
        "randomSeed": call.random_seed(bits=32),
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
