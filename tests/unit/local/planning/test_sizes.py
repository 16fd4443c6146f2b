"""Rows and lengths of data sets: read where they are here, assumed where they are not."""

import json
from pathlib import Path

import pytest

from selfie.errors import InvalidInput
from selfie.local.planning.sizes import (
    ASSUMED_RESPONSE,
    ASSUMED_ROWS,
    ROUGH_COUNTER,
    SAMPLED_ROWS,
    Counter,
    counter_of,
    length_of,
    sizes_of,
)
from selfie.models.chat import ChatTokenizer
from selfie.runs.estimates.data import EVALUATION, HELDOUT, SEED
from selfie.runs.estimates.lengths import Length
from selfie.runs.load import run_from_object
from selfie.runs.spec import RunSpec

WORDS = Counter(
    lambda chat, _place: sum(len(turn["content"].split()) for turn in chat),
    lambda text: len(text.split()),
    "counted in words",
)


def spec_of(folder: Path, **changes) -> RunSpec:
    plain = {
        "model": {"uri": "m"},
        "seed": {"dataset": f"{folder}/seed.jsonl", "heldout": f"{folder}/heldout.jsonl"},
        "rounds": [{"prompts": {"dataset": f"file://{folder}/prompts.jsonl", "from": 2, "count": 3}}],
    }
    head = {"apiVersion": "selfie.dev/v1alpha1", "kind": "SelfieRun", "metadata": {"name": "toy"}}
    return run_from_object({**head, "spec": plain | changes}).spec


def write(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(
        tmp_path / "seed.jsonl",
        [{"prompt": "a b", "chosen": "c " * (n + 1), "rejected": "d d d d"} for n in range(4)],
    )
    write(tmp_path / "heldout.jsonl", [{"prompt": "a b c", "chosen": "c", "rejected": "d d"}])
    write(tmp_path / "prompts.jsonl", [{"prompt": "w " * (n + 1)} for n in range(6)])
    return tmp_path


def test_rows_and_lengths_are_those_of_the_files(folder):
    found = sizes_of(spec_of(folder), WORDS, folder)
    assert (found.pairs[SEED].rows, found.pairs[HELDOUT].rows) == (4, 1)
    assert found.pairs[SEED].prompt == Length(2, 2, 2)
    assert found.pairs[SEED].response == Length(3.25, 4, 4)
    assert found.prompts["prompts-round-01"].rows == 3
    assert found.prompts["prompts-round-01"].prompt == Length(4, 5, 5)
    assert found.prompts["prompts-round-01"].basis == "all counted in words"


def test_prompts_are_cut_as_the_run_cuts_them(folder):
    found = sizes_of(spec_of(folder, generation={"maxPromptTokens": 4}), WORDS, folder)
    assert found.prompts["prompts-round-01"].prompt == Length(pytest.approx(11 / 3), 4, 4)


def test_what_is_elsewhere_is_assumed_and_says_so(folder):
    elsewhere = {"dataset": "s3://bucket/seed.jsonl", "heldout": f"{folder}/gone.jsonl", "size": 77}
    evaluation = {"prompts": {"dataset": "hf://datasets/o/n/p.jsonl", "count": 5}}
    found = sizes_of(spec_of(folder, seed=elsewhere, evaluation=evaluation), WORDS, folder)
    assert (found.pairs[SEED].rows, found.pairs[SEED].response) == (77, ASSUMED_RESPONSE)
    assert found.pairs[SEED].basis.startswith("lengths assumed")
    assert found.pairs[HELDOUT].rows == ASSUMED_ROWS
    assert found.pairs[HELDOUT].basis.startswith("rows and lengths assumed")
    assert found.prompts[EVALUATION].rows == 5
    assert found.pairs[SEED].assumed
    assert found.prompts[EVALUATION].assumed
    assert not found.prompts["prompts-round-01"].assumed


def test_fewer_rows_than_are_asked_for_are_refused_by_field(folder):
    seed = {"dataset": f"{folder}/seed.jsonl", "size": 5}
    with pytest.raises(InvalidInput, match="has 4 rows") as refused:
        sizes_of(spec_of(folder, seed=seed), WORDS, folder)
    assert refused.value.field == "spec.seed.size"


def test_a_wrong_row_is_refused_by_its_line(folder):
    (folder / "heldout.jsonl").write_text('{"prompt": "a", "chosen": "b"}\n')
    with pytest.raises(InvalidInput, match=r"heldout\.jsonl:1 rejected: is missing"):
        sizes_of(spec_of(folder), WORDS, folder)


def test_of_many_rows_some_are_counted_and_the_longest(folder):
    counted = []

    def chat(messages, _place):
        counted.append(messages[0]["content"])
        return len(messages[0]["content"].split())

    rows = [{"prompt": f"w{n} " * (500 if n == 333 else 2)} for n in range(1000)]
    write(folder / "prompts.jsonl", rows)
    spec = spec_of(folder, rounds=[{"prompts": {"dataset": f"{folder}/prompts.jsonl"}}])
    found = sizes_of(spec, Counter(chat, WORDS.response, "counted"), folder).prompts["prompts-round-01"]
    assert sum(text.startswith("w") for text in counted) == SAMPLED_ROWS + 1
    assert found.rows == 1000
    assert found.prompt == Length(2, 2, 500)
    assert "200 and the longest" in found.basis


def test_the_models_own_tokenizer_counts_template_and_end_of_turn(folder, tiny_checkpoint):
    tokenizer = ChatTokenizer(tiny_checkpoint)
    counter = counter_of(tokenizer)
    chat = [{"role": "user", "content": "What is the sea?"}]
    assert counter.chat(chat, "here") == len(tokenizer.prompt_ids(chat).ids)
    assert counter.response("The sea is wide.") == len(tokenizer.response_ids("The sea is wide."))


def test_without_a_tokenizer_characters_are_counted():
    assert ROUGH_COUNTER.chat([{"role": "user", "content": "x" * 40}], "here") == 14
    assert ROUGH_COUNTER.response("x" * 40) == 11


def test_the_quantile_is_one_of_the_texts():
    assert length_of([*range(1, 101), 7]) == Length(50.5, 95, 100)
    assert length_of([3, 3]) == Length(3, 3, 3)
