"""Which rows of which calls go together."""

from hypothesis import given
from hypothesis import strategies as st

from selfie.scoring.rows import Row, Wanted
from selfie.scoring.turns import Job, next_turn, tokens_of

PLAIN = Wanted()


def row(prompt: int, response: int, *, mark: int = 0) -> Row:
    """A row of so many tokens; ``mark`` tells prompts of one length apart."""
    return Row((mark,) * prompt, (1,) * response)


def job(*rows: Row, wanted: Wanted = PLAIN) -> Job:
    return Job(list(rows), wanted, None, 0.0)


def test_a_prompt_is_counted_once():
    assert tokens_of([row(10, 3), row(10, 5), row(4, 2, mark=1)]) == 10 + 3 + 5 + 4 + 2


def test_calls_share_a_turn_as_far_as_the_budget_goes():
    jobs = [job(row(5, 5)), job(row(5, 5, mark=1)), job(row(5, 6, mark=2))]
    assert [chosen for chosen, _ in next_turn(jobs, 30)] == jobs[:2]
    assert [chosen for chosen, _ in next_turn(jobs, 31)] == jobs


def test_two_calls_about_one_prompt_pay_for_it_once():
    jobs = [job(row(20, 5)), job(row(20, 6))]
    assert len(next_turn(jobs, 31)) == 2
    assert len(next_turn(jobs, 30)) == 1


def test_a_smaller_call_fills_the_room_that_a_larger_one_could_not():
    large, small = job(row(50, 50, mark=1)), job(row(2, 2, mark=2))
    assert [chosen for chosen, _ in next_turn([job(row(5, 5)), large, small], 40)][1:] == [small]


def test_calls_that_want_other_lambdas_wait_for_a_turn_of_their_own():
    first, other = job(row(2, 2)), job(row(2, 2), wanted=Wanted((0.5,)))
    assert [chosen for chosen, _ in next_turn([first, other], 100)] == [first]
    assert [chosen for chosen, _ in next_turn([other, first], 100)] == [other]


def test_a_row_longer_than_the_budget_runs_alone():
    jobs = [job(row(500, 500)), job(row(1, 1, mark=1))]
    ((chosen, rows),) = next_turn(jobs, 100)
    assert chosen is jobs[0]
    assert len(rows) == 1


def test_a_call_that_asks_for_more_than_the_budget_has_a_part_of_it_computed():
    ((_, rows),) = next_turn([job(*(row(10, number) for number in range(20, 25)))], 60)
    assert [len(each.response_ids) for each in rows] == [20, 21]


lengths = st.tuples(st.integers(1, 30), st.integers(1, 30), st.integers(0, 3))
queues = st.lists(st.lists(lengths, min_size=1, max_size=4), min_size=1, max_size=5)


@given(queues, st.integers(1, 80))
def test_turn_after_turn_every_row_is_computed_once_and_within_the_budget(queue, budget: int):
    jobs = [job(*dict.fromkeys(row(p, r, mark=m) for p, r, m in rows)) for rows in queue]
    expected = [list(each.left) for each in jobs]
    computed: dict[int, list[Row]] = {id(each): [] for each in jobs}
    waiting = list(jobs)
    while waiting:
        shares = next_turn(waiting, budget)
        rows = [one for _, taken in shares for one in taken]
        assert shares[0][0] is waiting[0]
        assert len(rows) == 1 or tokens_of(rows) <= budget
        for chosen, taken in shares:
            computed[id(chosen)] += taken
            chosen.left = chosen.left[len(taken) :]
        waiting = [each for each in waiting if each.left]
    assert [computed[id(each)] for each in jobs] == expected
