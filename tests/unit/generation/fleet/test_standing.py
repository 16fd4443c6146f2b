"""How long a failing replica is left out."""

from selfie.generation.fleet.standing import LONGEST_REST_S, Standing


def test_a_new_replica_is_in():
    assert not Standing().is_out(0.0)


def test_each_failure_in_a_row_doubles_the_rest():
    standing, now, rests = Standing(), 0.0, []
    for _ in range(8):
        standing = standing.after_failure(now, "refused")
        rests.append(standing.rests_until - now)
        now = standing.rests_until
        assert not standing.is_out(now)
    assert rests == [1.0, 2.0, 4.0, 8.0, 16.0, LONGEST_REST_S, LONGEST_REST_S, LONGEST_REST_S]


def test_many_requests_that_fail_together_count_once():
    once = Standing().after_failure(10.0, "reset")
    assert once.after_failure(10.5, "reset") == once
    assert once.is_out(10.9)


def test_work_done_makes_it_as_good_as_new():
    worn = Standing().after_failure(0.0, "a").after_failure(1.0, "b")
    assert worn.failures == 2
    assert worn.after_success() == Standing()
