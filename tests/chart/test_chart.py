"""What the chart makes of its values beside workloads, which `tests/cluster/test_chart_rendered.py` reads."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import yaml

from charts import CHART, KUBERNETES, VALUES, Helm, Refused, Rendered, found_helm
from prometheus import ALERTS, alerts, promtool
from selfie.runs.load import parse_run

FILES = {**VALUES, "local": CHART / "values-local.yaml", "gpu": CHART / "values-gpu.yaml"}
NEEDED = {"gpu": {"artifacts.uri": "s3://bucket/selfie"}}
OPTIONAL = (
    "ServiceMonitor",
    "PodMonitor",
    "PrometheusRule",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "HorizontalPodAutoscaler",
    "Certificate",
)
SCORER = {"scorer.weights.run": "s3://bucket/selfie/team/toy-1f0c3", "scorer.callers": ["apps/assistant"]}


@pytest.fixture(scope="module", params=["helm", "helm3"])
def helm(request: pytest.FixtureRequest) -> Helm:
    return found_helm(which=request.param)


@pytest.fixture(scope="module")
def everything(helm: Helm) -> Rendered:
    return helm.rendered(VALUES["everything"])


@pytest.mark.parametrize("name", FILES)
def test_every_file_of_values_can_be_rendered(helm: Helm, name: str) -> None:
    made = helm.rendered(FILES[name], NEEDED.get(name))
    assert made.of("Deployment")
    flags = [f"--set={path}={value}" for path, value in NEEDED.get(name, {}).items()]
    assert "0 chart(s) failed" in helm.run("lint", str(CHART), KUBERNETES, f"-f={FILES[name]}", *flags)


def test_both_helms_make_the_same() -> None:
    first, second = (
        found_helm(which=which).rendered(VALUES["everything"]).objects for which in ("helm", "helm3")
    )
    for objects in (first, second):
        for entry in objects:
            if entry["metadata"]["name"].endswith("-trial") and entry["kind"] == "ConfigMap":
                # A name of its own for each trial.
                entry["data"] = {}
    by_name = [
        sorted(objects, key=lambda it: (it["kind"], it["metadata"]["name"])) for objects in (first, second)
    ]
    assert by_name[0] == by_name[1]


def test_nothing_that_is_not_kubernetes_own_is_made_unless_it_is_asked_for(helm: Helm) -> None:
    plain = helm.rendered(FILES["local"])
    assert not [kind for kind in OPTIONAL if plain.of(kind)]
    assert not [name for name in plain.of("ConfigMap") if "dashboard" in name]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"monitoring.serviceMonitors.enabled": True}, "'serviceMonitors' not allowed"),
        ({"monitoring.interval": "soon"}, "/monitoring/interval'"),
        ({"scorer.autoscaling.replicas": 2}, "'replicas' not allowed"),
        ({"scorer.tls.certManager.issuer.kind": "Authority"}, "'Issuer', 'ClusterIssuer'"),
        ({"runPods.trainer.sharedMemory": "much"}, "/runPods/trainer/sharedMemory'"),
        ({"networkPolicy.enabled": "yes"}, "/networkPolicy/enabled'"),
        ({"runPods.tgi.inPlace": True}, "/runPods/tgi"),
        ({"podDisruptionBudget.minAvailable": 1}, "'minAvailable' not allowed"),
        ({"trial.run": {}}, "'run' not allowed"),
        ({**SCORER, "scorer.tls.certManager.enabled": True}, "say who signs the certificate"),
    ],
    ids=lambda value: list(value)[-1] if isinstance(value, dict) else "",
)
def test_what_cannot_be_meant_is_refused(helm: Helm, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused) as caught:
        helm.rendered(VALUES["volume"], changes)
    assert words in str(caught.value)


def test_monitors_find_what_is_there(everything: Rendered) -> None:
    services = {
        name: (entry["metadata"]["labels"], {port["name"] for port in entry["spec"]["ports"]})
        for name, entry in everything.of("Service").items()
    }
    monitors = everything.of("ServiceMonitor")
    assert set(monitors) == set(services)
    for name, monitor in monitors.items():
        wanted = monitor["spec"]["selector"]["matchLabels"]
        matched = [service for service, (labels, _) in services.items() if wanted.items() <= labels.items()]
        assert matched == [name]
        assert {end["port"] for end in monitor["spec"]["endpoints"]} <= services[name][1]
        assert monitor["metadata"]["labels"]["release"] == "prometheus"


def test_rules_are_those_of_the_file_with_the_releases_names(everything: Rendered, tmp_path: Path) -> None:
    [rule] = everything.of("PrometheusRule").values()
    made = [entry for group in rule["spec"]["groups"] for entry in group["rules"]]
    assert [entry["alert"] for entry in made if "alert" in entry] == list(
        dict.fromkeys(
            entry["alert"]
            for group in yaml.safe_load(ALERTS.read_text())["groups"]
            for entry in group["rules"]
            if "alert" in entry
        )
    )
    for entry in made:
        assert 'namespace="team"' in entry["expr"]
        assert "selfie-" not in entry["expr"]
        if "alert" in entry:
            page = f"https://runbooks.example/selfie/{entry['alert']}.md"
            assert entry["annotations"]["runbook_url"] == page
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(rule["spec"]))
    assert "SUCCESS" in promtool("check", "rules", str(file))


def test_jobs_that_alerts_name_are_those_of_the_monitors(everything: Rendered) -> None:
    [rule] = everything.of("PrometheusRule").values()
    made = {entry.get("alert"): entry["expr"] for group in rule["spec"]["groups"] for entry in group["rules"]}
    jobs = set(everything.of("ServiceMonitor"))
    assert 'job="aligned-operator"' in made["SelfieOperatorDown"]
    assert "aligned-operator" in jobs
    assert 'job=~"aligned-(generation|filtering|training|scorer)"' in made["SelfieServiceDown"]
    assert {f"aligned-{name}" for name in ("generation", "filtering", "training", "scorer")} <= jobs


def test_dashboards_are_carried_as_they_are(everything: Rendered) -> None:
    carried = {
        name: text
        for entry in everything.of("ConfigMap").values()
        if entry["metadata"]["labels"].get("grafana_dashboard") == "1"
        for name, text in entry["data"].items()
    }
    files = {f"selfie-{path.name}": path.read_text() for path in CHART.glob("dashboards/*.json")}
    assert carried == files
    assert all(len(text.encode()) < 256 * 1024 for text in files.values())


def test_a_scaled_scorer_says_no_number_of_replicas(everything: Rendered, helm: Helm) -> None:
    assert "replicas" not in everything.of("Deployment")["aligned-scorer"]["spec"]
    still = helm.rendered(VALUES["volume"], SCORER)
    assert still.of("Deployment")["r-scorer"]["spec"]["replicas"] == 1
    assert not still.of("HorizontalPodAutoscaler")


def test_a_scorer_with_a_certificate_is_probed_without_one(everything: Rendered) -> None:
    [container] = dict(everything.pods())["aligned-scorer"]["containers"]
    told = everything.environment("aligned-scorer")
    [certificate] = everything.of("Certificate").values()
    mounted = {entry["name"]: entry for entry in dict(everything.pods())["aligned-scorer"]["volumes"]}
    assert mounted["tls"]["secret"]["secretName"] == certificate["spec"]["secretName"]
    assert told["SELFIE_TLS_CERTIFICATE"].startswith("/etc/selfie/tls/")
    probes = {
        container[probe]["grpc"]["port"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert probes == {int(told["SELFIE_HEALTH_PORT"])}


def test_a_service_of_one_replica_has_no_budget(everything: Rendered) -> None:
    assert set(everything.of("PodDisruptionBudget")) == {"aligned-generation", "aligned-scorer"}


def test_accounts_of_all_that_touches_the_store_are_known_to_the_cloud(everything: Rendered) -> None:
    marked = {
        name.removeprefix("aligned-")
        for name, entry in everything.of("ServiceAccount").items()
        if entry["metadata"].get("annotations", {}).get("example.com/role") == "selfie"
    }
    services = {"operator", "generation", "filtering", "training", "scorer"}
    assert marked == services | {"engine", "scoring", "trainer"}


def test_shared_memory_is_where_it_is_looked_for(everything: Rendered) -> None:
    trainer = everything.run_pods()["trainer"]
    assert {"name": "shared-memory", "mountPath": "/dev/shm"} in trainer["volumeMounts"]  # noqa: S108
    memory = {"medium": "Memory", "sizeLimit": "8Gi"}
    assert {"name": "shared-memory", "emptyDir": memory} in trainer["volumes"]


def test_the_trial_is_a_run_that_can_be_meant(everything: Rendered) -> None:
    [text] = [
        entry["data"]["run.yaml"]
        for name, entry in everything.of("ConfigMap").items()
        if name.endswith("trial")
    ]
    assert len(parse_run(text).spec.rounds) == 1
    [pod] = everything.of("Pod").values()
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"


def test_the_trial_asks_a_scorer_that_is_there_as_one_of_its_callers(
    helm: Helm, everything: Rendered
) -> None:
    told = trial_of(everything)
    assert told["SELFIE_SCORER"] == "dns:///aligned-scorer:50051"
    assert told["SELFIE_SCORER_TLS"] == "true"
    assert ":aligned-trial" in everything.environment("aligned-scorer")["SELFIE_CALLERS"]
    assert "SELFIE_SCORER" not in trial_of(helm.rendered(VALUES["volume"]))


def trial_of(rendered: Rendered) -> dict[str, str]:
    """The trial's variables."""
    [pod] = rendered.of("Pod").values()
    return {
        entry["name"]: entry["value"] for entry in pod["spec"]["containers"][0]["env"] if "value" in entry
    }


def test_the_operator_may_write_pods_only_where_engines_are_moved_in_place(
    everything: Rendered, helm: Helm
) -> None:
    def verbs(rendered: Rendered) -> set[str]:
        [role] = [entry for name, entry in rendered.of("Role").items() if name.endswith("-operator")]
        return {verb for rule in role["rules"] if rule["resources"] == ["pods"] for verb in rule["verbs"]}

    assert verbs(everything) == {"list", "watch", "patch"}
    assert verbs(helm.rendered(VALUES["volume"])) == {"list", "watch"}


def test_every_value_says_what_it_does() -> None:
    path = Path(__file__).parents[2] / "tools/chart_readme.py"
    spec = importlib.util.spec_from_file_location("chart_readme", path)
    assert spec
    assert spec.loader
    readme = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(readme)
    assert not [value.path for value in readme.values() if not value.told]


def test_alerts_of_the_chart_are_known() -> None:
    assert len(alerts()) == 18
