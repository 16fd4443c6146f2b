"""Settings of the operator."""

import pytest
from pydantic import ValidationError

from selfie_operator.settings import OperatorSettings


def test_the_defaults_are_those_that_the_documentation_promises():
    settings = OperatorSettings()
    lease = (settings.lease_duration_seconds, settings.lease_renew_seconds, settings.lease_retry_seconds)
    assert lease == (15, 10, 2)
    assert (settings.api_qps, settings.api_burst) == (50, 100)
    assert settings.relist_seconds == 300
    assert settings.api_silence_seconds <= 75
    assert settings.namespace == ""


@pytest.mark.parametrize("times", [(10, 10, 2), (15, 2, 2), (15, 16, 2)])
def test_a_leader_must_stop_before_another_begins(times: tuple[float, float, float]):
    duration, renew, retry = times
    with pytest.raises(ValidationError, match="lease_retry_seconds < lease_renew_seconds"):
        OperatorSettings(
            lease_duration_seconds=duration, lease_renew_seconds=renew, lease_retry_seconds=retry
        )


def test_two_processes_on_one_host_are_two_in_the_lease():
    settings = OperatorSettings(identity="host")
    assert settings.lease_identity() != settings.lease_identity()


def test_the_next_process_of_a_pod_is_the_one_that_the_lease_knows():
    first, second = (OperatorSettings(identity="host", pod_uid="6c84fb90") for _ in range(2))
    assert first.lease_identity() == second.lease_identity() == "host_6c84fb90"


def test_the_lease_lies_where_it_is_told_to_else_in_the_namespace_that_is_watched():
    assert OperatorSettings(lease_namespace="a", namespace="b").lease_place() == "a"
    assert OperatorSettings(namespace="b").lease_place() == "b"
