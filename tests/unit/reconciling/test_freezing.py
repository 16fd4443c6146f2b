"""What a run starts with stays as it was, whatever becomes of the release."""

import copy
import json

import pytest

from release_doubles import NAMESPACE, PODS
from selfie.errors import DataCorrupted, FailedPrecondition
from selfie.kube.frozen import Frozen, config_map_of, frozen_from
from selfie.kube.labels import owner_reference
from selfie.kube.objects import CONFIG_MAP, DEPLOYMENT, SELFIE_RUN, uid_of
from selfie.kube.pod_settings import PodSettings
from selfie.runs.load import run_from_object
from selfie.runs.names import frozen_name
from selfie.runs.resolving import resolved
from selfie.runs.status import derived_message, derived_reason
from selfie_operator.reconciling.building import assemble
from simulated_release import SimulatedRelease

SOURCES = "file:///usr/share/selfie/examples"
OWNER = {"metadata": {"name": "toy", "namespace": NAMESPACE, "uid": "the-uid"}}
OTHER_PODS = PodSettings.model_validate(
    {
        name: {"image": f"selfie/{name}:2", "serviceAccount": "new", "env": [{"name": "NEW", "value": "1"}]}
        for name in ("engine", "scoring", "trainer")
    }
)


def frozen(run):
    return Frozen(run_from_object(run), "s3://bucket/runs/team/toy-1", PODS, SOURCES)


def test_it_is_read_back_as_it_was_written(run_object):
    made = config_map_of(frozen(run_object()), OWNER)
    assert frozen_from(made, "the-uid") == frozen(run_object())
    assert made["immutable"] is True
    assert made["metadata"]["name"] == frozen_name("toy", "the-uid")
    assert made["metadata"]["ownerReferences"] == [owner_reference(OWNER)]


def test_one_of_somebody_else_is_not_believed(run_object):
    made = config_map_of(frozen(run_object()), OWNER)
    with pytest.raises(FailedPrecondition, match="somebody else") as caught:
        frozen_from(made, "another-uid")
    assert caught.value.reason == "NameTaken"


@pytest.mark.parametrize("part", ["run.json", "pods.json", "runUri", "sourcesRoot", "runDigest"])
def test_one_that_was_changed_or_cut_is_not_believed(run_object, part):
    made = config_map_of(frozen(run_object()), OWNER)
    del made["data"][part]
    with pytest.raises(DataCorrupted):
        frozen_from(made, "the-uid")


def test_a_changed_run_is_told_by_its_digest(run_object):
    made = config_map_of(frozen(run_object()), OWNER)
    run = json.loads(made["data"]["run.json"])
    run["spec"]["randomSeed"] = 7
    made["data"]["run.json"] = json.dumps(run)
    with pytest.raises(DataCorrupted, match="digest"):
        frozen_from(made, "the-uid")


def test_the_method_stays_and_what_may_change_changes(run_object):
    present = run_from_object(run_object(randomSeed=7, retries=9, suspend=True, gpu="separate"))
    found = frozen(run_object(randomSeed=1)).of(present).spec
    assert found.random_seed == 1
    assert (found.retries, found.suspend, found.gpu) == (9, True, "separate")


def test_rounds_that_were_added_are_taken_with_their_sources_where_the_others_were(run_object):
    first = run_object()["spec"]["rounds"]
    more = [*copy.deepcopy(first), {"prompts": {"dataset": "more.jsonl"}}]
    more[0]["prompts"]["count"] = 5
    found = frozen(run_object()).of(run_from_object(run_object(rounds=more))).spec
    assert len(found.rounds) == 4
    assert found.rounds[0].prompts.count == 8
    assert found.rounds[3].prompts.dataset == f"{SOURCES}/more.jsonl"


async def test_everything_is_written_out_before_the_first_step(release, run_object):
    key = release.apply(run_object())
    await release.drive(key, until=lambda: bool(release.services.begun))
    [made] = release.api.of(CONFIG_MAP)
    found = frozen_from(made, uid_of(release.run(key)))
    assert found.run.spec == resolved(found.run.spec)
    assert found.run.spec.model.uri == "hf://toy/model"
    assert found.run.spec.seed is not None
    assert found.run.spec.seed.dataset == "file:///usr/share/selfie/examples/seed.jsonl"
    assert found.run_uri.startswith(f"s3://bucket/runs/{NAMESPACE}/toy-")
    assert found.pods == PODS


async def upgraded(release, key, **settings):
    """Another release takes the run over: other images, accounts, places."""
    release.settings = release.settings.model_copy(update=settings)
    release.told.catch_up()
    release.reconcile = assemble(
        release.settings,
        OTHER_PODS,
        (release.api, release.told, release.recorded),
        services=release.services,
        open_store=release.store,
        now=lambda: release.now,
    )


async def test_an_upgrade_changes_neither_place_nor_image_of_a_run_that_has_begun(release, run_object):
    key = release.apply(run_object())
    await release.drive(key, until=lambda: release.status_of(key).round == 1)
    await upgraded(
        release,
        key,
        artifacts_root="s3://new/root",
        artifact_roots=("s3://bucket/runs",),
        sources_root="file:///elsewhere",
    )
    images = set()

    def ended():
        images.update(
            found["spec"]["template"]["spec"]["containers"][0]["image"]
            for found in release.api.of(DEPLOYMENT)
        )
        return release.is_at_rest(key)

    await release.drive(key, until=ended)
    assert derived_reason(release.status_of(key)) == "Completed"
    assert images == {"selfie/engine:1", "selfie/scoring:1"}
    assert not [path for path in release.files if path.startswith("s3://new")]


async def test_a_run_that_begins_after_the_upgrade_is_of_the_new_release(release, run_object):
    await upgraded(release, None, artifacts_root="s3://new/root")
    key = release.apply(run_object())
    await release.drive(key)
    assert all(path.startswith("s3://new/root") for path in release.files)


async def test_an_upgrade_or_a_changed_size_leaves_pods_at_work_alone(release, run_object):
    key = release.apply(run_object())

    def working():
        live = release.services.live(uid_of(release.run(key)))
        return release.status_of(key).step == "rounds/01/generate" and bool(live)

    await release.drive(key, until=working)
    made = release.pods_made
    await upgraded(release, key)
    release.api.edit(SELFIE_RUN, key.name, key.namespace, resources={"engine": {"cpu": "9"}})
    release.told.catch_up()
    await release.drive(key, until=lambda: release.status_of(key).step != "rounds/01/generate")
    assert release.pods_made == made


async def test_accounts_volumes_and_variables_are_always_the_releases_own(release, run_object):
    # Whoever may make ConfigMaps could otherwise choose them.
    key = release.apply(run_object())
    await release.drive(key, until=lambda: release.status_of(key).stage == "publish")
    await upgraded(release, key)
    await release.drive(key, until=lambda: bool(release.api.of(DEPLOYMENT)))
    [found] = release.api.of(DEPLOYMENT)
    pod = found["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "new"
    assert pod["containers"][0]["env"] == [{"name": "NEW", "value": "1"}]


def forged(release, key, **changes):
    """A ConfigMap that somebody puts in place before the operator does, with the run as its owner."""
    run = release.run(key)
    pods = PodSettings.model_validate(
        {
            name: {"image": "evil/image:1", "serviceAccount": "admin"}
            for name in ("engine", "scoring", "trainer")
        }
    )
    uri = changes.get("uri", "s3://bucket/runs/team/other-00000")
    release.api.put(CONFIG_MAP, config_map_of(Frozen(run_from_object(run), uri, pods, SOURCES), run))


@pytest.mark.parametrize("uri", ["s3://bucket/runs/team/other-00000", "s3://elsewhere/team/toy-00000"])
async def test_a_forged_place_is_refused_before_anything_is_there(release, run_object, uri):
    key = release.apply(run_object())
    forged(release, key, uri=uri)
    with pytest.raises(FailedPrecondition, match="outside what this release may use"):
        await release.look(key)
    assert derived_reason(release.status_of(key)) == "OutsideOfRoots"
    assert release.files == {}


async def test_a_forged_image_is_not_run(release, run_object):
    key = release.apply(run_object())
    uid = uid_of(release.run(key))
    from selfie.runs.names import run_path

    forged(release, key, uri=f"s3://bucket/runs/{run_path(NAMESPACE, 'toy', uid)}")
    await release.drive(key, until=lambda: bool(release.api.of(DEPLOYMENT)))
    [found] = release.api.of(DEPLOYMENT)
    pod = found["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == "selfie/engine:1"
    assert pod["serviceAccountName"] == "selfie-engine"


async def test_a_config_map_of_somebody_else_stalls_the_run_and_nothing_is_started(release, run_object):
    key = release.apply(run_object())
    name = frozen_name("toy", uid_of(release.run(key)))
    release.api.put(CONFIG_MAP, {"metadata": {"name": name, "namespace": NAMESPACE}, "data": {}})
    with pytest.raises(FailedPrecondition):
        await release.look(key)
    assert derived_reason(release.status_of(key)) == "NameTaken"
    assert "delete it, or rename the run" in derived_message(release.status_of(key))
    release.api.remove((CONFIG_MAP, NAMESPACE, name))
    release.told.catch_up()
    await release.drive(key)
    assert derived_reason(release.status_of(key)) == "Completed"


async def test_a_method_that_was_changed_past_the_api_server_has_no_effect(run_object):
    release = SimulatedRelease()
    key = release.apply(run_object())
    await release.drive(key, until=lambda: release.status_of(key).round == 1)
    release.api.edit(SELFIE_RUN, key.name, key.namespace, randomSeed=999)
    release.told.catch_up()
    await release.drive(key)
    seeds = {work.call.run.spec.random_seed for work in release.services.works.values()}
    assert seeds == {42}


async def test_a_run_whose_config_map_is_deleted_by_hand_gets_another_and_can_be_cancelled(
    release, run_object
):
    key = release.apply(run_object())
    await release.drive(key, until=lambda: release.status_of(key).step == "rounds/01/generate")
    [found] = release.api.of(CONFIG_MAP)
    release.api.remove((CONFIG_MAP, NAMESPACE, found["metadata"]["name"]))
    release.start_operator()
    await release.look(key)
    assert release.api.of(CONFIG_MAP)
    release.api.remove((CONFIG_MAP, NAMESPACE, found["metadata"]["name"]))
    release.api.edit(SELFIE_RUN, key.name, key.namespace, cancel=True)
    release.start_operator()
    await release.drive(key)
    assert derived_reason(release.status_of(key)) == "Cancelled"
