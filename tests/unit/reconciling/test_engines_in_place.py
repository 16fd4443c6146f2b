"""An engine that is moved to a round's weights where it stands, and kept between rounds for that."""

import json

import pytest

from release_doubles import PODS
from release_kills import Killer, end_state
from selfie.kube.labels import POLICY, WEIGHTS
from selfie.kube.objects import DEPLOYMENT, POD, labels_of
from selfie.kube.pod_settings import PodSettings
from selfie.runs.status import derived_reason
from simulated_release import SimulatedRelease

OPENAI = {
    "image": "vllm:0.33.0",
    "serviceAccount": "selfie-server",
    "arguments": ["--model", "{weights}"],
    "inPlace": True,
}
IN_PLACE = PodSettings.model_validate({**PODS.model_dump(by_alias=True), "openai": OPENAI})
EVALUATION = {"prompts": {"dataset": "prompts.jsonl", "from": 24, "count": 8}, "initial": True}
ENGINE = {"app.kubernetes.io/component": "engine"}


@pytest.fixture
def run(run_object):
    return run_object(gpu="separate", generation={"engine": "openai"}, evaluation=EVALUATION)


@pytest.fixture
def release():
    return SimulatedRelease(pods=IN_PLACE)


async def test_one_pod_samples_from_every_policy_in_turn(release, run):
    key = release.apply(run)
    await release.drive(key)
    assert derived_reason(release.status_of(key)) == "Completed"
    assert max(release.services.begun.values()) == 1
    initial, *published = release.moves
    assert len({initial, *published}) == 5, "the initial model, the seed's policy and three rounds'"
    engines = [place for place in release.made if "engine" in place]
    assert len(engines) == 1


async def test_with_a_shared_accelerator_it_leaves_whenever_it_does_not_sample(release, run):
    run["spec"]["gpu"] = "shared"
    key = release.apply(run)
    await release.drive(key)
    assert derived_reason(release.status_of(key)) == "Completed"
    assert len([place for place in release.made if "engine" in place]) > 3


async def test_a_pod_that_comes_in_place_of_another_is_told_the_weights_of_the_moment(release, run):
    key = release.apply(run)
    await release.drive(key, until=lambda: release.status_of(key).step == "rounds/02/generate")
    [pod] = release.api.of(POD, labels=ENGINE)
    release.api.remove((POD, pod["metadata"]["namespace"], pod["metadata"]["name"]))
    await release.drive(key, until=lambda: bool(release.api.of(POD, labels={**ENGINE, **_label(pod)})))
    [other] = release.api.of(POD, labels=ENGINE)
    assert json.loads(other["metadata"]["annotations"][POLICY])["step"] == "rounds/01/publish"
    await release.drive(key)
    assert max(release.services.published.values()) == 1


def _label(pod):
    return {WEIGHTS: labels_of(pod)[WEIGHTS]}


async def test_what_makes_pods_anew_does_not_change_with_the_weights(release, run):
    key = release.apply(run)
    templates = set()
    for step in ("rounds/00/serve", "rounds/01/train", "rounds/03/generate"):
        await release.drive(key, until=lambda step=step: release.status_of(key).step == step)
        [deployment] = release.api.of(DEPLOYMENT, labels=ENGINE)
        templates.add(json.dumps(deployment["spec"]["template"], sort_keys=True))
    assert len(templates) == 1


async def test_killed_once_at_every_moment_it_ends_as_if_it_never_was(run):
    ends = []
    for always in (False, True):
        release = SimulatedRelease(pods=IN_PLACE)
        key = release.apply(run)
        killer = Killer(release, always=always)
        await release.drive(key, passes=3000)
        ends.append((end_state(release, key), killer))
    (undisturbed, counted), (disturbed, killer) = ends
    assert killer.kills > counted.count / 2
    assert disturbed == undisturbed
