"""What Jobs are made of."""

from dataclasses import replace
from typing import Any

import pytest

from selfie.artifacts.exits import Exit
from selfie.errors import FailedPrecondition
from selfie.kube.objects import Object
from selfie.runs.load import run_from_object
from selfie.runs.names import job_name
from selfie.runs.steps import Step
from selfie.training import records
from selfie.training.cluster.objects import Wanted, job_of, rendezvous_of, require_own, require_told
from selfie.training.pod.__main__ import main as pod_main
from training_runs import UID, asked_of, frozen_of, published_steps, selfie_run, trainer_settings

PUBLISHED = published_steps("prepare", "rounds/00/seed", "rounds/00/publish", "rounds/01/filter")


def wanted_by(owner: Object) -> Wanted:
    run = frozen_of(owner).of(run_from_object(owner))
    asked = asked_of(owner, run, PUBLISHED)
    step = Step(int(asked.attempt.round), asked.attempt.step.rpartition("/")[2])
    return Wanted(owner, run, asked.attempt, step, asked.program, "f" * 64)


def train(**spec: Any) -> Wanted:
    return wanted_by(selfie_run("rounds/01/train", attempt=2, spec=spec))


def job(wanted: Wanted, **settings: Any) -> Object:
    return job_of(wanted, trainer_settings(**settings))


def pod_of(found: Object) -> Object:
    spec: Object = found["spec"]["template"]["spec"]
    return spec


def container_of(found: Object) -> Object:
    (container,) = pod_of(found)["containers"]
    return container


def test_a_job_is_the_runs_own_and_says_what_it_is_for() -> None:
    found = job(train())
    metadata = found["metadata"]
    assert metadata["name"] == job_name("toy", UID, Step(1, "train"), 2)
    assert metadata["annotations"] == {"selfie.dev/job": records.job_name(train().attempt)}
    assert metadata["ownerReferences"] == [
        {
            "apiVersion": "selfie.dev/v1alpha1",
            "kind": "SelfieRun",
            "name": "toy",
            "uid": UID,
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
    labels = {
        "app.kubernetes.io/name": "selfie",
        "app.kubernetes.io/managed-by": "selfie-training",
        "app.kubernetes.io/component": "trainer",
        "selfie.dev/run": "toy",
        "selfie.dev/run-uid": UID,
        "selfie.dev/step": "rounds.01.train",
        "selfie.dev/attempt": "2",
    }
    assert metadata["labels"] == labels
    assert found["spec"]["template"]["metadata"]["labels"] == labels


def test_the_same_attempt_is_the_same_job() -> None:
    assert job(train()) == job(train())


def test_a_job_is_followed_by_no_other_pod_while_one_lives_and_is_not_taken_away_by_itself() -> None:
    spec = job(train())["spec"]
    assert spec["podReplacementPolicy"] == "Failed"
    assert pod_of({"spec": spec})["restartPolicy"] == "Never"
    assert "ttlSecondsAfterFinished" not in spec
    assert "activeDeadlineSeconds" not in spec
    assert (spec["parallelism"], spec["completions"], spec["completionMode"]) == (1, 1, "NonIndexed")


def test_disruptions_are_not_charged_and_what_stays_wrong_ends_the_attempt_at_once() -> None:
    spec = job(train())["spec"]
    disrupted, ignored, failing = spec["podFailurePolicy"]["rules"]
    assert disrupted == {
        "action": "Ignore",
        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
    }
    assert (ignored["action"], failing["action"]) == ("Ignore", "FailJob")
    assert ignored["onExitCodes"]["values"] == [Exit.SUPERSEDED, Exit.PEERS_LOST, Exit.TERMINATED]
    assert failing["onExitCodes"]["values"] == [Exit.INVALID_INPUT, Exit.FAILED, Exit.OUTDATED]
    for rule in (ignored, failing):
        assert rule["onExitCodes"]["containerName"] == container_of(job(train()))["name"]
        assert 0 not in rule["onExitCodes"]["values"]
    assert spec["backoffLimit"] == 6


def test_a_program_has_the_fixed_account_and_no_token_of_it() -> None:
    pod = pod_of(job(train(), automountToken=True))
    assert pod["serviceAccountName"] == "selfie-trainer"
    assert pod["automountServiceAccountToken"] is False


def test_a_queue_admits_the_job() -> None:
    queued, free = job(train(queue="team-queue")), job(train())
    assert queued["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-queue"
    assert queued["spec"]["suspend"] is True
    assert free["spec"]["suspend"] is False
    assert "kueue.x-k8s.io/queue-name" not in queued["spec"]["template"]["metadata"]["labels"]


def test_only_processors_memory_nodes_and_accelerators_are_the_runs_to_say() -> None:
    wanted = train(
        resources={"training": {"cpu": "4", "memory": "8Gi"}},
        gpusPerNode=1,
        placement={"nodeSelector": {"pool": "gpu"}, "tolerations": [{"key": "gpu", "operator": "Exists"}]},
    )
    found, plain = job(wanted), job(train())
    assert container_of(found)["resources"]["limits"] == {"cpu": "4", "memory": "8Gi", "nvidia.com/gpu": "1"}
    assert pod_of(found)["nodeSelector"] == {"pool": "gpu"}
    assert pod_of(found)["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    for template in (found, plain):
        for name in ("nodeSelector", "tolerations"):
            pod_of(template).pop(name, None)
        container_of(template).pop("resources", None)
    assert found == plain


def test_programs_without_a_model_take_no_accelerator() -> None:
    spec = {"resources": {"training": {"memory": "64Gi"}}, "gpusPerNode": 8, "nodes": 2}
    found = job(wanted_by(selfie_run("prepare", spec=spec)))
    assert not any(container_of(found)["resources"].values())
    assert found["spec"]["parallelism"] == 1
    assert "--nodes" not in container_of(found)["args"]


def test_only_prepare_finds_the_token_for_the_hub() -> None:
    def token(wanted: Wanted) -> list[Object]:
        return [entry for entry in container_of(job(wanted))["env"] if entry["name"] == "HF_TOKEN"]

    spec = {"model": {"uri": "hf://org/model", "secretRef": {"name": "hub"}}}
    found = {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "HF_TOKEN"}}}
    assert token(wanted_by(selfie_run("prepare", spec=spec))) == [found]
    assert token(train(**spec)) == []
    assert token(wanted_by(selfie_run("prepare"))) == []


def test_nodes_find_each_other_by_the_name_of_the_first() -> None:
    wanted = train(nodes=2)
    found = job(wanted)
    service = rendezvous_of(wanted.owner)
    assert found["spec"]["completionMode"] == "Indexed"
    assert (found["spec"]["parallelism"], found["spec"]["completions"]) == (2, 2)
    assert found["spec"]["backoffLimit"] == 12
    assert pod_of(found)["subdomain"] == service["metadata"]["name"]
    args = container_of(found)["args"]
    main = args[args.index("--main") + 1]
    assert main == f"{found['metadata']['name']}-0.{service['metadata']['name']}:29500"
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    labels = found["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()


def test_accelerators_of_one_node_need_no_service() -> None:
    args = container_of(job(train(gpusPerNode=4)))["args"]
    assert args[args.index("--ranks") + 1] == "4"
    assert args[args.index("--main") + 1] == "127.0.0.1:29500"


def test_every_argument_is_one_that_the_pod_takes(capsys: pytest.CaptureFixture[str]) -> None:
    for wanted in (train(nodes=2, gpusPerNode=2), wanted_by(selfie_run("prepare"))):
        with pytest.raises(SystemExit):
            pod_main([*container_of(job(wanted))["args"], "--no-such-argument"])
        assert "unrecognized arguments: --no-such-argument" in capsys.readouterr().err


def test_what_belongs_to_another_run_is_not_taken_over() -> None:
    wanted = train()
    own = job(wanted)
    assert require_own(own, UID) is own
    for other in (own | {"metadata": own["metadata"] | {"ownerReferences": []}}, job(train())):
        with pytest.raises(FailedPrecondition, match="belongs to somebody else") as caught:
            require_own(other, "another uid")
        assert caught.value.reason == "NameTaken"


def test_a_job_that_others_have_changed_is_the_same_job_unless_it_is_told_something_else() -> None:
    wanted = train(queue="team-queue")
    found = job(wanted, image="registry.local/selfie-gpu:1.1")
    found["spec"]["suspend"] = False
    pod_of(found)["nodeSelector"] = {"admitted": "here"}
    require_told(found, wanted)
    with pytest.raises(FailedPrecondition, match="told other parameters"):
        require_told(found, replace(wanted, parameters_sha256="e" * 64))
