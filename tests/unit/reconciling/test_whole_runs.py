"""A run from its creation to its end in a simulated release."""

from selfie.runs.status import derived_reason


async def test_a_run_goes_through_all_its_rounds_and_leaves_nothing_behind(release, run_object):
    key = release.apply(run_object())
    await release.drive(key)
    status = release.status_of(key)
    assert derived_reason(status) == "Completed"
    assert status.progress == "26/26"
    assert max(release.services.begun.values()) == 1
    assert max(release.services.published.values()) == 1
