"""Requests for the programs that the training controller starts, made from a SelfieRun."""

import json
from pathlib import Path

from selfie.dispatch.calls import StepCall
from selfie.runs.programs import PROGRAM_OF, parameters_of
from selfie.v1 import training_pb2

_PROGRAMS = {
    "adopt": training_pb2.PROGRAM_ADOPT,
    "prepare": training_pb2.PROGRAM_PREPARE,
    "train": training_pb2.PROGRAM_TRAIN,
    "publish": training_pb2.PROGRAM_PUBLISH,
    "rate": training_pb2.PROGRAM_RATE,
}


def create_job(call: StepCall, cache_dir: Path) -> training_pb2.CreateTrainingJobRequest:
    """For every step that is a program; in ``cache_dir`` it may keep files."""
    attempt = {
        "runUri": call.run_uri,
        "step": call.step.path,
        "number": call.attempt,
        "runUid": call.run_uid,
    }
    parameters = parameters_of(call.run, call.step, call.inputs)
    body = {"attempt": attempt, "cacheDir": str(cache_dir), **parameters}
    return training_pb2.CreateTrainingJobRequest(
        request_id=call.request_id,
        attempt=call.attempt_message(),
        program=_PROGRAMS[PROGRAM_OF[call.step.name]],
        parameters_json=json.dumps(body, sort_keys=True),
    )
