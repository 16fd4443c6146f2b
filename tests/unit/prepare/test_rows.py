import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from selfie.errors import InvalidInput, NotFound
from selfie.prepare.datasets import Dataset, Row, read_dataset
from selfie.prepare.rows import pair_rows, prompt_rows, refuse_leaked, unused_pairs

PAIR = {"id": "a", "prompt": "Why is the sea salt?", "chosen": "Rivers carry salt.", "rejected": "It is not."}


def dataset(*rows: dict[str, Any], name: str = "pairs.jsonl") -> Dataset:
    return Dataset(
        name, "0" * 64, tuple(Row(f"{name}:{line}", row) for line, row in enumerate(rows, start=1))
    )


def pairs(*rows: dict[str, Any], size: int = 0, name: str = "pairs.jsonl"):
    return pair_rows(dataset(*rows, name=name), size=size, field="seed.size")


def write(path: Path, *rows: object) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def read(uri: str, cache: Path = Path("/nowhere")) -> Dataset:
    return read_dataset(uri, cache_root=cache, field="seed.dataset")


def test_a_prompt_as_string_is_a_users_turn():
    (row,) = pairs(PAIR)
    assert row.messages == ({"role": "user", "content": "Why is the sea salt?"},)
    assert (row.prompt_id, row.chosen, row.source) == ("a", "Rivers carry salt.", None)


def test_a_chat_keeps_its_turns_and_a_row_its_source():
    chat = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Why?"},
    ]
    (row,) = pairs({**PAIR, "prompt": chat, "source": "hand", "license": "MIT"})
    assert list(row.messages) == chat
    assert row.source == "hand"


def test_a_row_without_id_is_named_by_file_and_line():
    rows = pairs({**PAIR, "id": None}, {key: PAIR[key] for key in ("prompt", "chosen", "rejected")})
    assert [row.prompt_id for row in rows] == ["pairs-1", "pairs-2"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"chosen": ""}, "pairs.jsonl:1 chosen: is empty"),
        ({"chosen": " \n"}, "pairs.jsonl:1 chosen: is ' .n'; write a string"),
        ({"chosen": [{"role": "assistant", "content": "x"}]}, "pairs.jsonl:1 chosen: is .*; write a string"),
        ({"rejected": "Rivers carry salt."}, "pairs.jsonl:1 rejected: is the same text as chosen"),
        ({"rejected": "lone \ud800 surrogate"}, "pairs.jsonl:1 rejected: is not valid Unicode"),
        ({"prompt": None}, "pairs.jsonl:1 prompt: is missing"),
        ({"prompt": []}, r"pairs.jsonl:1 prompt: is \[\]"),
        ({"prompt": ["Hi"]}, r"pairs.jsonl:1 prompt\[0\]: is 'Hi'; write a message"),
        (
            {"prompt": [{"role": "human", "content": "Hi"}]},
            r"prompt\[0\].role: is 'human'; use one of system, user",
        ),
        ({"prompt": [{"role": "user"}]}, r"prompt\[0\].content: is empty"),
        ({"prompt": [{"role": "assistant", "content": "Hi"}]}, "ends with the turn of assistant"),
        ({"id": 7}, "pairs.jsonl:1 id: is 7; write a string"),
        ({"source": 7}, "pairs.jsonl:1 source: is 7"),
    ],
)
def test_a_bad_row_is_refused_with_file_line_field_and_remedy(change: dict[str, Any], message: str):
    with pytest.raises(InvalidInput, match=message):
        pairs({**PAIR, **change})


def test_a_pair_needs_both_responses():
    with pytest.raises(InvalidInput, match=r"pairs.jsonl:1 chosen: is missing; write the assistant's answer"):
        pairs({"prompt": "Hi", "rejected": "x"})


def test_two_rows_of_one_id_are_refused_with_both_places():
    with pytest.raises(InvalidInput, match=r"pairs.jsonl:2 id: 'a' is also the id of pairs.jsonl:1"):
        pairs(PAIR, {**PAIR, "chosen": "Other."})


def test_a_subset_is_the_first_rows_and_the_rest_is_not_looked_at():
    broken = {"prompt": 7}
    assert [row.prompt_id for row in pairs(PAIR, {**PAIR, "id": "b"}, broken, size=2)] == ["a", "b"]


def test_asking_for_more_pairs_than_there_are_says_how_many_there_are():
    with pytest.raises(InvalidInput, match=r"seed.size: asks for 3, and pairs.jsonl has 1 rows"):
        pairs(PAIR, size=3)


@pytest.mark.parametrize(
    ("start", "count", "ids"), [(0, 0, "0123"), (1, 2, "12"), (2, 0, "23"), (3, 1, "3"), (0, 4, "0123")]
)
def test_prompts_are_a_slice(start: int, count: int, ids: str):
    source = dataset(*({"id": str(number), "prompt": f"Question {number}"} for number in range(4)))
    found = prompt_rows(source, start=start, count=count, field="rounds.0.count")
    assert "".join(row.prompt_id for row in found) == ids


@pytest.mark.parametrize(("start", "count"), [(3, 2), (4, 0), (0, 5), (9, 1)])
def test_a_slice_beyond_the_end_is_refused(start: int, count: int):
    source = dataset(*({"prompt": f"Question {number}"} for number in range(4)))
    with pytest.raises(InvalidInput, match=r"rounds.0.count: asks for .*pairs.jsonl has 4 rows"):
        prompt_rows(source, start=start, count=count, field="rounds.0.count")


def test_a_held_out_pair_that_is_trained_on_is_refused():
    seed = pairs(PAIR, name="seed.jsonl")
    same = pairs({**PAIR, "id": "z", "rejected": "Other."}, name="heldout.jsonl")
    with pytest.raises(InvalidInput, match=r"heldout.jsonl:1: is the same pair as seed.jsonl:1 of the seed"):
        refuse_leaked(seed, same)
    refuse_leaked(seed, pairs({**PAIR, "chosen": "Other."}, name="heldout.jsonl"))


def test_json_lines_are_read_with_their_line_numbers_and_digest(tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n\n{"a": 2}\r\n')
    found = read(str(path))
    assert [(row.place, row.values) for row in found.rows] == [
        (f"{path}:1", {"a": 1}),
        (f"{path}:3", {"a": 2}),
    ]
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.stem == "rows"
    assert read(path.as_uri()).rows[0].values == {"a": 1}


def test_parquet_is_read_like_json_lines(tmp_path: Path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    chat = [{"role": "user", "content": "Hi"}]
    pq.write_table(pa.Table.from_pylist([{"id": "a", "prompt": chat}]), tmp_path / "rows.parquet")
    (row,) = prompt_rows(read(str(tmp_path / "rows.parquet")), start=0, count=0, field="x")
    assert list(row.messages) == chat


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.jsonl", b"", "seed.dataset: .*rows.jsonl has no rows"),
        ("rows.jsonl", b'{"a": 1}\n{"a"\n', r"rows.jsonl:2: is not JSON"),
        ("rows.jsonl", b"[1]\n", r"rows.jsonl:1: is a list; write one JSON object a line"),
        ("rows.jsonl", b'{"a": "\xff"}\n', r"rows.jsonl:1: is not JSON"),
        ("rows.parquet", b"PAR1", "rows.parquet: is not a Parquet file"),
    ],
)
def test_a_broken_file_is_refused(name: str, content: bytes, message: str, tmp_path: Path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInput, match=message):
        read(str(tmp_path / name))


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("no/such/file.jsonl", "no/such/file.jsonl is not a file"),
        ("ftp://host/file.jsonl", "is not the place of a data set"),
        ("hf://datasets/org/name", "does not name a file"),
        ("hf://datasets/../name/file.jsonl", "does not name a repository"),
    ],
)
def test_a_place_that_is_none_is_refused_at_the_field(uri: str, message: str):
    with pytest.raises(InvalidInput, match=f"seed.dataset: .*{message}"):
        read(uri)


def test_a_data_set_of_the_hub_is_fetched_at_its_revision(tmp_path: Path):
    asked = []

    def download(repository: str, name: str, revision: str | None, cache: Path) -> Path:
        asked.append((repository, name, revision))
        return Path(write(tmp_path / "fetched.jsonl", PAIR))

    for uri in ("hf://datasets/org/name@v1/data/train.jsonl", "hf://datasets/org/name/train.jsonl"):
        found = read_dataset(uri, cache_root=tmp_path, field="x", download=download)
        assert found.rows[0].values == PAIR
        assert found.rows[0].place == f"{uri}:1"
    assert asked == [("org/name", "data/train.jsonl", "v1"), ("org/name", "train.jsonl", None)]


def test_errors_of_the_hub_pass_through(tmp_path: Path):
    def download(repository: str, name: str, revision: str | None, cache: Path) -> Path:
        raise NotFound(f"{repository} does not exist")

    with pytest.raises(NotFound, match="org/name"):
        read_dataset("hf://datasets/org/name/x.jsonl", cache_root=tmp_path, field="x", download=download)


def numbered(*numbers: int) -> list[dict[str, Any]]:
    return [{**PAIR, "id": f"pair {number}", "prompt": f"What is {number}?"} for number in numbers]


def test_pairs_of_an_evaluator_are_the_next_ones_as_many_as_it_may_have():
    found = unused_pairs(dataset(*numbered(*range(200))), after=10, most=70, besides=())
    assert [row.prompt_id for row in found] == [f"pair {number}" for number in range(10, 80)]


def test_an_evaluator_has_no_prompt_that_is_trained_on_or_held_out():
    trained, heldout = pairs(*numbered(0, 1)), pairs(*numbered(15, 17, 900), name="heldout.jsonl")
    # The prompt of the first pair is there once more, with another answer.
    again = {**PAIR, "id": "again", "prompt": "What is 0?", "chosen": "Nothing."}
    whole = dataset(*numbered(*range(20)), again, *numbered(*range(20, 100)))
    found = unused_pairs(whole, after=2, most=1000, besides=[*trained, *heldout])
    assert {row.prompt_id for row in found} == {f"pair {n}" for n in range(2, 100) if n not in (15, 17)}


def test_too_few_pairs_for_an_evaluator_are_said_with_their_number_and_what_to_do():
    with pytest.raises(InvalidInput) as caught:
        unused_pairs(dataset(*numbered(*range(70))), after=7, most=1000, besides=())
    assert caught.value.field == "seed.size"
    assert "leaves 63 of the 70 pairs of pairs.jsonl" in caught.value.problem
    assert "at least 64" in caught.value.problem
    assert caught.value.remedy == "choose a smaller one, or add labelled pairs"


def test_a_wrong_row_among_an_evaluators_pairs_is_found_by_its_line():
    rows = [*numbered(*range(80)), {"prompt": "Why?"}]
    with pytest.raises(InvalidInput, match=r"pairs\.jsonl:81 chosen"):
        unused_pairs(dataset(*rows), after=4, most=1000, besides=())
