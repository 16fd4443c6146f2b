"""What the probes make of a process's vital signs."""

from dataclasses import replace

import pytest

from selfie_operator.health import Vitals, ailments, obstacles

WELL = Vitals(
    watches={"selfieruns": 30, "jobs": 60},
    refusals={},
    reached=1,
    stuck=0,
    look=120,
    lag=0.01,
    synced=True,
    lost_lease=False,
)


def test_a_healthy_process_lives_and_is_ready():
    assert ailments(WELL) == obstacles(WELL) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"watches": {"selfieruns": 30, "jobs": 181}}, "watch of jobs silent for 181 s"),
        ({"stuck": 181}, "no worker has moved for 181 s"),
        ({"lag": 11}, "event loop late by 11.0 s"),
        ({"lost_lease": True}, "lease lost"),
    ],
)
def test_what_a_restart_would_mend_is_an_ailment(change: dict[str, object], said: str):
    assert ailments(replace(WELL, **change)) == [said]


def test_an_api_server_that_is_away_is_not_mended_by_a_restart():
    away = replace(WELL, watches={"selfieruns": 600}, reached=600)
    assert ailments(away) == []
    assert obstacles(away) == ["API server not reached for 600 s"]


def test_an_api_server_that_is_away_for_long_is_looked_for_by_another_process():
    assert ailments(replace(WELL, watches={"selfieruns": 901}, reached=901))


def test_a_worker_may_take_its_time_for_one_look():
    assert ailments(replace(WELL, stuck=119)) == []


def test_a_process_that_has_not_listed_everything_is_alive_but_not_ready():
    starting = replace(WELL, synced=False)
    assert ailments(starting) == []
    assert obstacles(starting) == ["not everything is listed yet"]


def test_a_role_that_is_missing_is_said_and_not_restarted_for():
    refused = replace(WELL, watches={"jobs": 600}, refusals={"jobs": "list jobs: 403"})
    assert ailments(refused) == []
    assert obstacles(refused) == ["list jobs: 403"]
