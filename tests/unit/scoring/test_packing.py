"""Where rows lie when they are laid end to end with each prompt once."""

from hypothesis import given
from hypothesis import strategies as st

from selfie.scoring.packing import pack, packed_batches
from selfie.scoring.rows import Row

TOKENS = st.lists(st.integers(0, 5), min_size=1, max_size=6).map(tuple)
ROWS = st.lists(st.builds(Row, TOKENS, TOKENS), min_size=1, max_size=12, unique=True)


def packed_tokens(rows: list[Row]) -> int:
    return len(pack(rows).ids)


@given(ROWS)
def test_every_response_is_predicted_from_its_own_prompt_and_its_own_tokens(rows: list[Row]):
    packed = pack(rows)
    seen = {}
    for group in packed.groups:
        prompt = packed.ids[group.prompt]
        for span in group.responses:
            for place in range(group.prompt.stop - 1, group.prompt.stop):
                seen.setdefault(place, set()).add(prompt)
            for place in range(span.start, span.stop):
                seen[place] = {prompt + packed.ids[span.start : place + 1]}
    scored = iter(packed.scored)
    for row in rows:
        for index in range(len(row.response_ids)):
            assert row.prompt_ids + row.response_ids[:index] in seen[packed.wanted[next(scored)]]
    assert next(scored, None) is None


@given(ROWS)
def test_a_prompt_is_there_once_and_the_last_token_of_a_response_never(rows: list[Row]):
    packed = pack(rows)
    prompts = {row.prompt_ids for row in rows}
    expected = sum(map(len, prompts)) + sum(len(row.response_ids) - 1 for row in rows)
    assert len(packed.ids) == len(packed.positions) == expected
    assert len(packed.groups) == len(prompts)


@given(ROWS)
def test_positions_count_from_the_start_of_each_row(rows: list[Row]):
    packed = pack(rows)
    for group in packed.groups:
        length = group.prompt.stop - group.prompt.start
        assert packed.positions[group.prompt] == tuple(range(length))
        for span in group.responses:
            own = span.stop - span.start
            assert packed.positions[span] == tuple(range(length, length + own))


@given(ROWS, st.integers(1, 40))
def test_batches_hold_every_row_once_within_the_budget(rows: list[Row], budget: int):
    batches = packed_batches(rows, budget)
    assert sorted(index for batch in batches for index in batch) == list(range(len(rows)))
    for batch in batches:
        assert len(batch) == 1 or packed_tokens([rows[index] for index in batch]) <= budget


def test_responses_to_one_prompt_stay_together():
    rows = [Row((1, 2), (n, 5)) for n in (3, 4)] + [Row((9,), (3, 4, 5))] + [Row((1, 2), (6,))]
    assert packed_batches(rows, 7) == [[0, 1, 3, 2]]
    assert packed_batches(rows, 6) == [[0, 1, 3], [2]]
    assert packed_batches(rows, 3) == [[0], [1, 3], [2]]


def test_nothing_makes_no_batch():
    assert packed_batches([], 10) == []
