"""Rows of data sets in small whole numbers, and what is asked about them."""

from typing import NamedTuple

from selfie.artifacts.manifests import ManifestRef
from selfie.scoring.judged import Judging
from selfie.scoring.rewards import RewardRule
from selfie.scoring.tasks import Task, UnpublishedSamples

PROMPTS, SAMPLES = 5, 2


class Asked(NamedTuple):
    """What is to be done with which rows."""

    task: Task
    source: ManifestRef | UnpublishedSamples


def prompt(number: int) -> dict:
    return {
        "prompt_id": f"p{number}",
        "messages": [{"role": "user", "content": f"question {number}"}],
        "prompt_ids": [1, 2, 3 + number],
        "prompt_digest": f"{number:064x}",
        "truncated": False,
        "source": "toy",
    }


def sample(number: int, index: int, **fields) -> dict:
    return {
        **prompt(number),
        "sample_index": index,
        "seed": index,
        "response_text": f"answer {index}",
        "response_ids": [10 + number, 20 * (index + 1), 2],
        "ids_from": "engine",
        "finish_reason": "stop",
        "policy_digest": "a" * 64,
        "engine": "toy",
        **fields,
    }


def preference(number: int) -> dict:
    return {
        **prompt(number),
        "pair_id": f"h{number}",
        "chosen_text": "good",
        "chosen_ids": [60 if number % 2 else 4, 2],
        "rejected_text": "bad",
        "rejected_ids": [20, 21, 2],
        "ids_from": "retokenized",
    }


def task(source: ManifestRef | UnpublishedSamples, **fields) -> Asked:
    judging = {
        "rule": RewardRule(),
        "lam": 0.5,
        "judge": "implicit",
        "pairing": "best_worst",
        "random_seed": 7,
        "precision": "exact",
    }
    judging |= {name: fields.pop(name) for name in list(fields) if name in judging}
    defaults = {
        "group": "rows",
        "kind": "samples",
        "policy_digest": "a" * 64,
        "reference_digest": "b" * 64,
        "divergence": False,
        "shard_rows": 2,
    }
    return Asked(Task(judging=Judging(**judging), **{**defaults, **fields}), source)


def all_samples() -> list[dict]:
    return [sample(number, index) for number in range(PROMPTS) for index in range(SAMPLES)]
