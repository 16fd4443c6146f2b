"""The trials' real work, with the classes that the services and the trainer use, on random token ids.

How long it takes does not depend on what the ids say. Everything that is timed has been done once
before, smaller or at its size, because first calls set up kernels and buffers.
"""

import statistics
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from selfie.artifacts.programs import parse
from selfie.runs.estimates.trials import SamplingTrial, ScoringTrial, TrainingTrial

Clock = Callable[[], float]

_FIRST_ID = 100
"""Below it are control tokens, in most vocabularies."""


def time_scoring(trial: ScoringTrial, directory: Path, clock: Clock) -> float:
    """Seconds of one batch under two models."""
    from selfie.models.loading import load_policy
    from selfie.scoring.engine import Checkpoint, PreferenceEngine
    from selfie.scoring.rows import Row, Wanted

    rng = np.random.default_rng(0)
    policy, reference = (Checkpoint(load_policy(directory), name) for name in ("policy", "reference"))
    engine = PreferenceEngine(policy, reference, token_budget=2**31)
    rows = []
    for _ in range(trial.prompts):
        prompt = _ids(rng, trial.prompt_tokens, engine.vocabulary)
        rows += [
            Row(prompt, _ids(rng, trial.response_tokens, engine.vocabulary)) for _ in range(trial.responses)
        ]
    wanted = Wanted(lambdas=(trial.lam,))
    engine.score(rows[: trial.responses], wanted)
    started = clock()
    engine.score(rows, wanted)
    return clock() - started


def time_sampling(trial: SamplingTrial, directory: Path, clock: Clock) -> tuple[float, float]:
    """Seconds of one decoding step with all rows, and with few."""
    from selfie.engine.decoding import Prompt, decode
    from selfie.engine.sampling import SamplingParameters
    from selfie.models.loading import load_policy

    model = load_policy(directory)
    rng = np.random.default_rng(0)
    prompt = _ids(rng, trial.prompt_tokens, model.config.get_text_config().vocab_size)
    parameters = SamplingParameters(temperature=0.7, top_p=1.0, max_new_tokens=trial.steps + 1)

    def step_seconds(rows: int) -> float:
        stamps: list[float] = []

        def stamp() -> bool:
            stamps.append(clock())
            return False

        # No id ends a response, so that all rows stay to the end. The hook is called once a step.
        none = frozenset({-1})
        decode(model, [Prompt(prompt, tuple(range(rows)))], parameters, end_ids=none, abandoned=stamp)
        return statistics.median(np.diff(stamps).tolist())

    return step_seconds(trial.rows), step_seconds(trial.few_rows)


def time_training(trial: TrainingTrial, directory: Path, clock: Clock) -> tuple[float, float, float]:
    """Seconds of an optimizer step's passes, of its update, and of the log-partition by itself."""
    from transformers import TrainerCallback

    from selfie.models.checkpoints import read_json
    from selfie.training.trainer.assembly import assemble
    from selfie.training.trainer.dataset import training_set
    from selfie.training.trainer.parameters import TrainingParameters

    stamps: dict[str, float] = {}

    class Stamps(TrainerCallback):  # type: ignore[misc]
        """Keeps the last step's times."""

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            stamps["begin"] = clock()

        def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
            stamps["passed"] = clock()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            stamps["end"] = clock()

    vocabulary = int(read_json(directory / "config.json")["vocab_size"])
    pairs = training_set(_pairs(trial, vocabulary), max_tokens=2**31, vocabulary=vocabulary)
    with TemporaryDirectory(prefix="selfie-") as scratch:
        parameters = parse(TrainingParameters, _training_parameters(trial, scratch))
        trainer = assemble(parameters, pairs, start=directory, directory=Path(scratch))
        trainer.add_callback(Stamps())
        trainer.train()
    passes, update = stamps["passed"] - stamps["begin"], stamps["end"] - stamps["passed"]
    return passes, update, _time_partition(trial, trainer, clock) if trial.lam else 0.0


def _time_partition(trial: TrainingTrial, trainer: Any, clock: Clock) -> float:
    import torch

    from selfie.training.trainer.log_partition import Head, log_partition
    from selfie.training.trainer.recording import causal_model

    head = Head.of(causal_model(trainer.model))
    states = torch.randn(2, trial.positions, head.weight.shape[1])
    started = clock()
    log_partition(states[0], states[1], trial.lam, policy_head=head, reference_head=head)
    return clock() - started


def _pairs(trial: TrainingTrial, vocabulary: int) -> list[dict[str, Any]]:
    """Two optimizer steps of pairs, all of one length."""
    rng = np.random.default_rng(0)
    lengths = {
        "prompt": trial.prompt_tokens,
        "chosen": trial.response_tokens,
        "rejected": trial.response_tokens,
    }
    return [
        {
            "pair_id": str(number),
            **{f"{name}_ids": _ids(rng, tokens, vocabulary) for name, tokens in lengths.items()},
        }
        for number in range(2 * trial.pairs)
    ]


def _training_parameters(trial: TrainingTrial, scratch: str) -> dict[str, Any]:
    """A plain training: what the noise detector adds is timed by itself."""
    nothing = "0" * 64
    return {
        "attempt": {"runUri": f"file://{scratch}", "step": "rounds/01/train", "number": 1, "runUid": "trial"},
        "kind": "round",
        "policy": {"step": "rounds/00/publish", "digest": nothing},
        "pairs": {"path": "rounds/01/filter/manifest.json", "sha256": nothing, "group": "pairs"},
        "learningRate": 1e-6,
        "epochs": 1,
        "batch": trial.pairs,
        "microBatch": trial.pairs,
        "refinement": "none",
        "precision": trial.precision,
        "lora": {"rank": trial.lora_rank, "alpha": trial.lora_alpha} if trial.lora_rank else None,
        "cacheDir": scratch,
    }


def _ids(rng: np.random.Generator, tokens: int, vocabulary: int) -> tuple[int, ...]:
    return tuple(rng.integers(min(_FIRST_ID, vocabulary // 2), vocabulary, tokens).tolist())
