"""What Prometheus is told of a run that the operator looks after."""

from selfie.kube.objects import SELFIE_RUN, uid_of
from selfie_operator.run_metrics import BOARD

NAME = "watched"


def told():
    return {
        family.name: [sample.labels for sample in family.samples if sample.labels["run"] == NAME]
        for family in BOARD.collect()
        if any(sample.labels["run"] == NAME for sample in family.samples)
    }


async def test_a_run_is_told_of_while_it_is_there(release, run_object):
    key = release.apply(run_object(name=NAME))
    await release.drive(key, until=lambda: release.status_of(key).stage == "filter")
    found = told()
    assert [(each["state"], each["stage"]) for each in found["selfie_run_info"]] == [("active", "filter")]
    steps = {each["step"] for each in found["selfie_step_duration_seconds"]}
    assert {"prepare", "seed", "generate", "score"} <= steps
    assert {each["namespace"] for each in found["selfie_run_info"]} == {key.namespace}

    uid = uid_of(release.run(key))
    await release.api.delete(SELFIE_RUN, key.name, uid=uid, namespace=key.namespace)
    release.api.collect_garbage()
    release.told.catch_up()
    await release.look(key)
    assert told() == {}


async def test_a_run_that_waits_for_its_turn_is_told_of_too(release, run_object):
    key = release.apply(run_object(name=NAME, suspend=True))
    await release.look(key)
    assert [each["state"] for each in told()["selfie_run_info"]] == ["suspended"]
    BOARD.forget((key.namespace, key.name))
