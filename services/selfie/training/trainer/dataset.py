"""Pairs of a round as the trainer sees them: token ids exactly as they were sampled and scored.

TRL would render and tokenise text again, and would cut long rows. Both change what is trained on,
so rows arrive here as ids, are checked once, and are never truncated.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import torch
from datasets import Dataset
from trl.trainer.dpo_trainer import DataCollatorForPreference

from selfie.errors import FailedPrecondition, InvalidInput

COLUMNS = ("row", "prompt_ids", "chosen_ids", "rejected_ids", "soft_label")
"""Columns beyond a model's own inputs; ``row`` numbers the pairs, ``soft_label`` is 1 for a sound one."""


def kept_rows(table: pa.Table) -> list[dict[str, Any]]:
    """Rows to train on: those that the filter kept, or all of them where no filter was at work.

    `FailedPrecondition` where none is left.
    """
    rows: list[dict[str, Any]] = table.to_pylist()
    kept = [row for row in rows if row.get("kept") is not False]
    if not kept:
        raise FailedPrecondition("NoPairs", _why_none(len(rows)))
    return kept


def _why_none(rows: int) -> str:
    if rows:
        return f"none of the {rows} pairs may be trained on; see the reasons that the filter recorded"
    return (
        "no prompt gave a pair; see what scoring counted: for unfinished responses raise "
        "generation.maxNewTokens, for identical ones and ties generation.temperature"
    )


def training_set(rows: Iterable[Mapping[str, Any]], *, max_tokens: int, vocabulary: int) -> Dataset:
    """The pairs as a data set with the columns `COLUMNS`.

    `InvalidInput` names a pair that has no tokens on a side, is longer than ``max_tokens``, or
    holds ids beyond ``vocabulary``: those would train on nothing, be cut, or crash.
    """
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for number, row in enumerate(rows):
        _check(row, max_tokens=max_tokens, vocabulary=vocabulary)
        columns["row"].append(number)
        for name in ("prompt_ids", "chosen_ids", "rejected_ids"):
            columns[name].append(list(row[name]))
        label = row.get("soft_label")
        columns["soft_label"].append(1.0 if label is None else float(label))
    return Dataset.from_dict(columns)


def lengths(dataset: Dataset) -> list[int]:
    """Tokens of the longer side of each pair, prompt included: what it is padded by."""
    return [
        len(prompt) + max(len(chosen), len(rejected))
        for prompt, chosen, rejected in zip(
            dataset["prompt_ids"], dataset["chosen_ids"], dataset["rejected_ids"], strict=True
        )
    ]


def _check(row: Mapping[str, Any], *, max_tokens: int, vocabulary: int) -> None:
    for name in ("prompt_ids", "chosen_ids", "rejected_ids"):
        field = f"pairs[{row['pair_id']}].{name}"
        if not row[name]:
            raise InvalidInput(field, "is empty", "let the filter remove empty responses")
        if max(row[name]) >= vocabulary or min(row[name]) < 0:
            raise InvalidInput(
                field, f"holds ids outside the {vocabulary} of the model", "use the tokenizer of the policy"
            )
    tokens = len(row["prompt_ids"]) + max(len(row["chosen_ids"]), len(row["rejected_ids"]))
    if tokens > max_tokens:
        raise InvalidInput(
            f"pairs[{row['pair_id']}]",
            f"has {tokens} tokens and the model takes {max_tokens}",
            "lower generation.maxNewTokens or the prompts' length; the trainer cuts nothing",
        )


@dataclass
class PairCollator(DataCollatorForPreference):  # type: ignore[misc]
    """TRL's collator, padding to the longest row only, that keeps the columns it would drop."""

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        batch: dict[str, Any] = super().torch_call(examples)
        batch["row"] = torch.tensor([example["row"] for example in examples])
        batch["soft_label"] = torch.tensor(
            [example["soft_label"] for example in examples], dtype=torch.float32
        )
        return batch
