"""``python -m selfie.local.planning --kind KIND --model DIRECTORY --trial JSON --output FILE``: one trial.

Writes what it found as one JSON object, with the most memory that this process ever had. It ends on
SIGTERM, leaving nothing behind but its parent's directory.
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from selfie.local.planning.work import Clock, time_sampling, time_scoring, time_training
from selfie.runs.estimates.trials import SamplingTrial, ScoringTrial, TrainingTrial

Attempt = Callable[[Mapping[str, Any], Path, Clock], Mapping[str, float]]


def _scoring(trial: Mapping[str, Any], model: Path, clock: Clock) -> Mapping[str, float]:
    return {"seconds": time_scoring(ScoringTrial(**trial), model, clock)}


def _sampling(trial: Mapping[str, Any], model: Path, clock: Clock) -> Mapping[str, float]:
    step, few = time_sampling(SamplingTrial(**trial), model, clock)
    return {"step_seconds": step, "few_step_seconds": few}


def _training(trial: Mapping[str, Any], model: Path, clock: Clock) -> Mapping[str, float]:
    passes, update, partition = time_training(TrainingTrial(**trial), model, clock)
    return {"seconds": passes, "update_seconds": update, "partition_seconds": partition}


ATTEMPTS: Mapping[str, Attempt] = {"scoring": _scoring, "sampling": _sampling, "training": _training}


def main(
    arguments: Sequence[str] | None = None,
    *,
    attempts: Mapping[str, Attempt] = ATTEMPTS,
    clock: Clock = time.perf_counter,
) -> None:
    """Makes one trial and writes what it found."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kind", choices=sorted(attempts), required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--trial", type=json.loads, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    found = attempts[options.kind](options.trial, options.model, clock)
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    partial = options.output.with_suffix(".partial")
    partial.write_text(json.dumps({**found, "peak_bytes": peak}))
    partial.replace(options.output)


if __name__ == "__main__":
    main(sys.argv[1:])
