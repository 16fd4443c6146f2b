"""What the chart makes of its values."""

import itertools
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic_settings import BaseSettings

from charts import CHART, VALUES, Helm, Refused, Rendered, found_helm
from selfie.engine.settings import EngineSettings
from selfie.generation.settings import GenerationSettings
from selfie.kube.pod_settings import PodSettings
from selfie.rpc.settings import ServerSettings
from selfie.scoring.settings import ScoringSettings
from selfie.training.settings import TrainingSettings
from selfie_operator.settings import OperatorSettings

EACH = pytest.mark.parametrize("values", VALUES)
SERVERS = ("filtering", "generation", "training")
SERVERS_OF_OTHERS = ("tgi", "openai")
ONLY_WHERE_ASKED_FOR = {
    "Certificate",
    "HorizontalPodAutoscaler",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "PodMonitor",
    "PrometheusRule",
    "ServiceMonitor",
}


@pytest.fixture(scope="module")
def helm() -> Helm:
    return found_helm()


@pytest.fixture(scope="module")
def releases(helm: Helm) -> dict[str, Rendered]:
    return {name: helm.rendered(path) for name, path in VALUES.items()}


@pytest.fixture
def everything(releases: dict[str, Rendered]) -> Rendered:
    return releases["everything"]


@pytest.fixture
def plain(releases: dict[str, Rendered]) -> Rendered:
    return releases["volume"]


@pytest.fixture
def rendered(releases: dict[str, Rendered], values: str) -> Rendered:
    return releases[values]


@EACH
def test_helm_finds_nothing_wrong(helm: Helm, values: str) -> None:
    assert "0 chart(s) failed" in helm.run("lint", str(CHART), f"-f={VALUES[values]}")


@pytest.mark.parametrize(
    ("values", "changes", "words"),
    [
        ("volume", {"artifacts.kind": ""}, "/artifacts/kind': value must be one of 'volume', 'uri'"),
        ("volume", {"artifacts.volume.accessMode": "ReadOnlyMany"}, "'ReadWriteOnce', 'ReadWriteMany'"),
        ("object-store", {"artifacts.uri": ""}, "/artifacts/uri'"),
        ("object-store", {"artifacts.uri": "http://host/runs"}, "/artifacts/uri'"),
        ("volume", {"operator.replica": 2}, "'replica' not allowed"),
        ("volume", {"operator.replicas": 3}, "/operator/replicas'"),
        ("volume", {"runPods.trainer.hostNetwork": True}, "'hostNetwork' not allowed"),
        ("volume", {"runPods.trainer.image": "evil"}, "'service', 'gpu'"),
        ("volume", {"images.service.digest": "latest"}, "/images/service/digest'"),
        ("volume", {"fullnameOverride": "Not_A_Name"}, "/fullnameOverride'"),
        ("volume", {"scorer.weights.run": "s3://b/r"}, "nobody may call the scorer: give scorer.callers"),
        ("volume", {"scorer.callers": ["assistant"]}, "/scorer/callers/0'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_be_meant_is_refused_with_the_way_out(
    helm: Helm, values: str, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(Refused) as caught:
        helm.rendered(VALUES[values], changes)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "/artifacts/kind': value must be one of 'volume', 'uri'"),
        (["--set=artifacts.kind=volume"], "missing properties 'accessMode', 'storageClass'"),
        (["--set=artifacts.kind=uri"], "/artifacts/uri': '' does not match pattern '^(s3|gs)://"),
    ],
)
def test_without_values_the_chart_asks_where_artifacts_shall_be(
    helm: Helm, flags: list[str], words: str
) -> None:
    with pytest.raises(Refused) as caught:
        helm.run("template", "r", str(CHART), *flags)
    assert words in str(caught.value)


@EACH
def test_nothing_is_made_outside_of_the_namespace_but_the_resource_definition(rendered: Rendered) -> None:
    kinds = {entry["kind"] for entry in rendered.objects}
    assert kinds - {"PersistentVolumeClaim"} - ONLY_WHERE_ASKED_FOR == {
        "ConfigMap",
        "CustomResourceDefinition",
        "Deployment",
        "Pod",
        "Role",
        "RoleBinding",
        "Service",
        "ServiceAccount",
    }


def test_the_definition_stays_with_its_runs_unless_told_otherwise(helm: Helm, plain: Rendered) -> None:
    [kept] = plain.of("CustomResourceDefinition").values()
    assert kept["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    [gone] = helm.rendered(VALUES["volume"], {"crds.keep": False}).of("CustomResourceDefinition").values()
    assert "annotations" not in gone["metadata"]
    none = helm.rendered(VALUES["volume"], {"crds.enabled": False})
    assert not none.of("CustomResourceDefinition")


@EACH
def test_the_operator_can_read_what_it_is_told_of_the_pods_that_it_makes(rendered: Rendered) -> None:
    told = PodSettings.model_validate(rendered.run_pods())
    accounts = rendered.of("ServiceAccount")
    for settings in (told.engine, told.scoring, told.trainer):
        assert settings.service_account in accounts
    assert not told.trainer.automount_token


@EACH
def test_whoever_may_call_is_an_account_of_the_release(rendered: Rendered, values: str) -> None:
    name = "aligned" if values == "everything" else "r"
    operator, generation = (f"system:serviceaccount:team:{name}-{who}" for who in ("operator", "generation"))
    for server in SERVERS:
        assert rendered.environment(f"{name}-{server}")["SELFIE_CALLERS"] == f'["{operator}"]'
    told = rendered.run_pods()
    callers = {
        part: [entry["value"] for entry in told[part]["env"] if entry["name"] == "SELFIE_CALLERS"]
        for part in told
        if part not in SERVERS_OF_OTHERS
    }
    assert callers == {
        "engine": [f'["{generation}","{operator}"]'],
        # An engine of another maker is held against the run's judge.
        "scoring": [f'["{generation}","{operator}"]' if values == "everything" else f'["{operator}"]'],
        "trainer": [],
    }
    assert {f"{name}-operator", f"{name}-generation"} <= set(rendered.of("ServiceAccount"))


@EACH
def test_the_operator_calls_services_that_there_are(rendered: Rendered) -> None:
    [operator] = [name for name in rendered.of("Deployment") if name.endswith("-operator")]
    told = rendered.environment(operator)
    called = {told[f"SELFIE_{server.upper()}_ADDRESS"] for server in SERVERS}
    headless = [
        name for name, entry in rendered.of("Service").items() if entry["spec"]["clusterIP"] == "None"
    ]
    assert called <= {f"dns:///{name}.team.svc:50051" for name in headless}


def test_engines_of_other_makers_are_offered_where_an_image_is_named(
    plain: Rendered, everything: Rendered
) -> None:
    assert PodSettings.model_validate(plain.run_pods()).engines == ("embedded",)
    pods = PodSettings.model_validate(everything.run_pods())
    assert pods.engines == ("embedded", "tgi", "openai")
    address = urlsplit(everything.environment("aligned-generation")["SELFIE_RUN_SERVER_ADDRESS"])
    for server in (pods.tgi, pods.openai):
        assert server is not None
        assert server.port == address.port
        assert not server.automount_token
        assert server.service_account in everything.of("ServiceAccount")
        # Neither the store's credentials nor a volume with artifacts.
        assert [volume["name"] for volume in server.volumes] == ["extra"]
        assert [entry["name"] for entry in server.env] == ["HOME", "EXTRA"]


@EACH
def test_in_the_lease_an_operator_is_known_by_its_pod(rendered: Rendered) -> None:
    [(_, pod)] = [(name, pod) for name, pod in rendered.pods() if name.endswith("-operator")]
    [container] = pod["containers"]
    told = {entry["name"]: entry.get("valueFrom") for entry in container["env"]}
    assert told["SELFIE_POD_UID"] == {"fieldRef": {"fieldPath": "metadata.uid"}}
    assert "pod_uid" in OperatorSettings.model_fields


PROCESSES: dict[str, type[BaseSettings]] = {
    "operator": OperatorSettings,
    "generation": GenerationSettings,
    "filtering": ServerSettings,
    "training": TrainingSettings,
}


@EACH
@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_understands_all_that_it_is_told(
    rendered: Rendered, process: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    [deployment] = [name for name in rendered.of("Deployment") if name.endswith(f"-{process}")]
    told = {
        name: text for name, text in rendered.environment(deployment).items() if name.startswith("SELFIE_")
    }
    settings = PROCESSES[process]
    assert {name.removeprefix("SELFIE_").lower() for name in told} <= set(settings.model_fields)
    for name, text in told.items():
        monkeypatch.setenv(name, text)
    assert settings().model_fields_set == {name.removeprefix("SELFIE_").lower() for name in told}


@pytest.mark.parametrize(
    ("part", "settings"),
    [("engine", EngineSettings), ("scoring", ScoringSettings)],
    ids=["engine", "scoring"],
)
def test_a_server_of_a_run_understands_all_that_it_is_told(
    everything: Rendered, part: str, settings: type[BaseSettings]
) -> None:
    told = {entry["name"] for entry in everything.run_pods()[part]["env"]}
    ours = {name.removeprefix("SELFIE_").lower() for name in told if name.startswith("SELFIE_")}
    assert "callers" in ours
    assert ours <= set(settings.model_fields)


def test_a_token_for_calls_is_mounted_where_calls_are_made_and_nowhere_else(everything: Rendered) -> None:
    holders = {
        name
        for name, pod in everything.pods()
        for volume in pod["volumes"]
        if "projected" in volume
        and [source["serviceAccountToken"]["audience"] for source in volume["projected"]["sources"]]
        == ["selfie.dev"]
    }
    assert holders == {"aligned-operator", "aligned-generation"}


def test_every_pod_gets_what_all_pods_are_given(everything: Rendered) -> None:
    for name, pod in everything.pods():
        [container] = pod["containers"]
        assert {"name": "EXTRA", "value": "all"} in container["env"], name
        assert "extra" in {mount["name"] for mount in container["volumeMounts"]}, name
        assert "extra" in {volume["name"] for volume in pod["volumes"]}, name
        assert container["command"] == ["/opt/python/bin/python"], name
    for name, part in everything.run_pods().items():
        assert {"name": "EXTRA", "value": "all"} in part["env"], name
        assert "extra" in {mount["name"] for mount in part["volumeMounts"]}, name
        if name not in SERVERS_OF_OTHERS:
            assert part["command"] == ["/opt/python/bin/python"], name


@EACH
def test_no_program_is_the_first_process_of_its_pod(rendered: Rendered) -> None:
    # That one gets no signal to end before it has a handler for it, which imports put off.
    assert {name: pod.get("shareProcessNamespace") for name, pod in rendered.pods()} == dict.fromkeys(
        rendered.of("Deployment"), True
    )


@EACH
def test_no_name_stands_twice_in_a_pod(rendered: Rendered) -> None:
    # Helm 4 applies on the server, where such a list is an error.
    for name, pod in rendered.pods():
        [container] = pod["containers"]
        for entries, key in (
            (container["env"], "name"),
            (container["volumeMounts"], "mountPath"),
            (pod["volumes"], "name"),
        ):
            found = sorted(entry[key] for entry in entries)
            assert not [a for a, b in itertools.pairwise(found) if a == b], name


def test_a_scorer_with_an_accelerator_asks_for_it_beside_its_own_resources(everything: Rendered) -> None:
    [container] = dict(everything.pods())["aligned-scorer"]["containers"]
    assert container["resources"] == {
        "requests": {"cpu": "500m", "memory": "1Gi", "example.com/gpu": "1"},
        "limits": {"memory": "8Gi", "example.com/gpu": "1"},
    }


def test_changed_settings_restart_who_reads_them_at_the_start(helm: Helm, plain: Rendered) -> None:
    changed = helm.rendered(VALUES["volume"], {"runPods.engine.graceSeconds": 61})

    def checksums(rendered: Rendered) -> dict[str, str]:
        return {
            name: entry["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
            for name, entry in rendered.of("Deployment").items()
            if "annotations" in entry["spec"]["template"]["metadata"]
        }

    before, after = checksums(plain), checksums(changed)
    assert before.keys() == after.keys() == {"r-operator", "r-training"}
    assert not [name for name in before if before[name] == after[name]]
