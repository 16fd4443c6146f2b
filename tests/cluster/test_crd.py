"""The CRD as a real API server understands it, held against the typed model."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from breaches import BREACHES, LEGAL, Breach
from cluster.running import Cluster
from crd_schemas import CRD_FILE, fields_of, schema_of
from hostile import API, BASE, Hostile, with_changes
from hostile_runs import HOSTILE
from raw_api import Answer, RawApi
from selfie.errors import Unavailable
from selfie.runs.load import object_of, run_from_object
from selfie.runs.status import RunStatus, object_of_status
from selfie.runs.violations import InvalidRun
from waiting import until

EVERY_PART = with_changes(
    BASE,
    {
        "spec.referenceModel": {"uri": "hf://org/base", "revision": "main", "secretRef": {"name": "hub"}},
        "spec.rounds": [
            {"prompts": {"dataset": "a.jsonl", "count": 8}, "lambda": "0.5", "learningRate": "1e-6"},
            {"prompts": {"dataset": "b.jsonl", "from": 8}, "epochs": 2},
        ],
        "spec.training.lora": {},
        "spec.scoring.lambda": "0.5",
        "spec.evaluation.gates": {"maxDivergence": "1", "onBreach": "fallBack", "maxAccuracyDrop": "0.1"},
        "spec.artifacts": {"uri": "s3://bucket/runs", "secretRef": {"name": "s3"}},
        "spec.resumeFrom": "s3://bucket/runs/default/older-0a1b2",
        "spec.resources": {"training": {"cpu": "4", "memory": "16Gi"}},
        "spec.placement": {
            "nodeSelector": {"example.com/gpu": "a100"},
            "tolerations": [{"key": "gpu", "value": "a", "effect": "NoExecute", "tolerationSeconds": 60}],
        },
        "spec.deadlines": {"runSeconds": 3600, "stageSeconds": 60},
        "spec.queue": "team-a",
        "spec.ttlSecondsAfterFinished": 60,
    },
)
CONDITION = {"lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1, "message": "done"}
COMPLETE = [
    {"type": "Succeeded", "status": "True", "reason": "Completed", **CONDITION},
    {"type": "Complete", "status": "True", "reason": "Completed", **CONDITION},
]


class Runs:
    """SelfieRuns of one namespace, as a client sees them that sends what it likes."""

    def __init__(self, api: RawApi, namespace: str) -> None:
        self._api = api
        self._path = f"/apis/selfie.dev/v1alpha1/namespaces/{namespace}/selfieruns"

    def try_to_create(self, run: dict[str, Any], *, validation: str = "Strict") -> Answer:
        return self._api.ask("POST", self._path, run, dryRun="All", fieldValidation=validation)

    def create(self, run: dict[str, Any]) -> dict[str, Any]:
        answer = self._api.ask("POST", self._path, run, fieldValidation="Strict")
        assert answer.code == 201, answer.body
        return answer.body

    def try_to_replace(self, run: dict[str, Any]) -> Answer:
        place = f"{self._path}/{run['metadata']['name']}"
        version = self._api.ask("GET", place).body["metadata"]["resourceVersion"]
        wanted = with_changes(run, {"metadata.resourceVersion": version})
        return self._api.ask("PUT", place, wanted, dryRun="All", fieldValidation="Strict")

    def write_status(self, name: str, status: dict[str, Any]) -> Answer:
        return self._api.ask("PATCH", f"{self._path}/{name}/status", {"status": status})

    def remove_all(self) -> None:
        assert self._api.ask("DELETE", self._path).code == 200

    def table(self) -> tuple[list[str], list[Any]]:
        """Columns that are always shown, and the first run's cells."""
        as_table = "application/json;as=Table;v=v1;g=meta.k8s.io"
        answer = self._api.ask("GET", self._path, accept=as_table)
        columns = answer.body["columnDefinitions"]
        shown = [index for index, column in enumerate(columns) if column["priority"] == 0]
        cells = answer.body["rows"][0]["cells"]
        return [columns[index]["name"] for index in shown], [cells[index] for index in shown]


@pytest.fixture(scope="module")
def api(control_plane: Cluster) -> Iterator[RawApi]:
    control_plane.kubectl("apply", "--server-side", "-f", str(CRD_FILE))
    with RawApi(control_plane.kubeconfig) as api:
        until(lambda: api.ask("GET", "/apis/selfie.dev/v1alpha1/selfieruns").code == 200)
        yield api


@pytest.fixture(scope="module")
def trying(api: RawApi) -> Runs:
    """For requests of which nothing stays."""
    return Runs(api, "default")


@pytest.fixture
def runs(trying: Runs) -> Iterator[Runs]:
    """For runs that are there while a test looks at them."""
    yield trying
    trying.remove_all()


def refused_by_the_model(run: dict[str, Any]) -> bool:
    try:
        run_from_object(run)
    except InvalidRun:
        return True
    return False


@pytest.mark.parametrize("row", HOSTILE, ids=lambda row: row.label)
def test_the_api_server_refuses_what_it_is_said_to(trying: Runs, row: Hostile) -> None:
    answer = trying.try_to_create(row.run())
    assert answer.refused == (API in row.by), answer.body


@pytest.mark.parametrize("change", [*BREACHES, *LEGAL], ids=lambda change: change.label)
def test_the_api_server_tells_what_cannot_change_from_what_can(runs: Runs, change: Breach) -> None:
    runs.create(change.before())
    if change.ended:
        assert runs.write_status("toy", {"conditions": COMPLETE}).code == 200
    answer = runs.try_to_replace(change.after())
    assert answer.refused == (API in change.by), answer.body


def test_a_refusal_names_the_field_and_what_to_do(trying: Runs) -> None:
    answer = trying.try_to_create(with_changes(BASE, {"spec.nodes": 3}))
    assert "spec.training.batch" in answer.message
    assert "use a multiple of their number" in answer.message


@pytest.mark.parametrize("run", [dict(BASE), EVERY_PART], ids=["least", "every part"])
def test_the_api_server_completes_a_run_as_the_typed_model_does(trying: Runs, run: dict[str, Any]) -> None:
    completed = trying.try_to_create(run).body
    assert completed["spec"] == object_of(run_from_object(run))["spec"]


def test_what_the_api_server_completed_is_the_same_run_to_the_typed_model(trying: Runs) -> None:
    completed = trying.try_to_create(EVERY_PART).body
    given, back = run_from_object(EVERY_PART), run_from_object(completed)
    assert back.spec == given.spec


def test_a_client_that_does_not_ask_for_strictness_is_warned_and_the_unknown_is_dropped(trying: Runs) -> None:
    # kubectl asks for it by default; for others nothing unknown is ever stored.
    smuggled = {
        "spec.podTemplate": {"spec": {"hostNetwork": True}},
        "spec.model.trustRemoteCode": True,
        "spec.resources.training": {"cpu": "1", "securityContext": {"privileged": True}},
    }
    answer = trying.try_to_create(with_changes(BASE, smuggled), validation="Warn")
    assert answer.code == 201
    assert sum("unknown field" in warning for warning in answer.warnings) == 3
    stored = json.dumps(answer.body["spec"])
    assert not [word for word in ("podTemplate", "trustRemoteCode", "privileged") if word in stored]


@pytest.mark.parametrize(("field", "refused"), [("seed", True), ("suspend", False), ("generation", False)])
def test_an_empty_field_is_its_default_or_refused_where_there_is_none(
    trying: Runs, field: str, refused: bool
) -> None:
    answer = trying.try_to_create(with_changes(BASE, {f"spec.{field}": None}))
    assert answer.refused == refused
    if not refused:
        assert answer.body["spec"][field] == object_of(run_from_object(dict(BASE)))["spec"][field]


SPEC_FIELDS = fields_of(schema_of("spec"), "spec")


def edges_of(schema: dict[str, Any]) -> list[Any]:
    """Values on both sides of each bound."""
    values: list[Any] = []
    match schema:
        case {"enum": choices}:
            values = [*choices, "another", choices[0].upper()]
        case {"type": "integer", "minimum": low}:
            values = [low - 1, low, low + 1, str(low), float(low) + 0.5]
            if "maximum" in schema:
                values += [schema["maximum"], schema["maximum"] + 1]
        case {"type": "string", "pattern": _}:
            values = ["", "a", "0", "1", "0.5", "-1", "a b", "A", "1Gi", "500m", "a/b", "x" * 63, "x" * 64]
            values += ["0.1", "1.0", "1.00001", "16", "100", "1000", "1001", "1e-9", "1e3", "5e-7", "01"]
            values += ["x" * schema["maxLength"], "x" * (schema["maxLength"] + 1)]
        case {"type": "boolean"}:
            values = [True, False, "true", 1]
        case {"type": "array", "maxItems": most, "items": items}:
            item = {"operator": "Exists"} if "operator" in items["properties"] else dict(ROUND)
            values = [[], [item], [item] * most, [item] * (most + 1), {}, "text"]
        case {"type": "object"}:
            values = [[], "text", 1]
    return values


# Of these, a path without a scheme has a meaning on a laptop alone.
STORES = {"spec.artifacts.uri", "spec.resumeFrom"}


ROUND = {"prompts": {"dataset": "a.jsonl", "count": 8}}


@pytest.mark.parametrize("path", [path for path in SPEC_FIELDS if not path.endswith("[]")])
def test_api_server_and_typed_model_agree_on_the_edges_of_each_field(trying: Runs, path: str) -> None:
    place = path.replace("[]", ".0")
    told: dict[str, tuple[bool, bool]] = {}
    for edge in edges_of(SPEC_FIELDS[path]):
        value = f"s3://b/{edge}"[: max(len(edge), 8)] if path in STORES else edge
        run = with_changes(EVERY_PART, {place: value})
        answer = trying.try_to_create(run)
        told[repr(value)[:40]] = (answer.refused, refused_by_the_model(run))
    assert told
    assert not {value: told for value, told in told.items() if told[0] != told[1]}


def test_a_status_of_every_kind_is_taken_as_it_is(runs: Runs) -> None:
    runs.create(dict(BASE))
    status = RunStatus.model_validate(FULL_STATUS)
    answer = runs.write_status("toy", object_of_status(status))
    assert answer.code == 200, answer.body
    assert RunStatus.model_validate(answer.body["status"]) == status


def test_others_may_set_conditions_of_their_own(runs: Runs) -> None:
    runs.create(dict(BASE))
    theirs = {"type": "example.com/Billed", "status": "True", "reason": "Paid", **CONDITION}
    answer = runs.write_status("toy", {"conditions": [*COMPLETE, theirs]})
    assert answer.code == 200
    assert theirs in answer.body["status"]["conditions"]


def test_a_status_that_is_too_large_is_refused(runs: Runs) -> None:
    runs.create(dict(BASE))
    rounds = [{"round": number} for number in range(21)]
    assert runs.write_status("toy", {"rounds": rounds}).refused


def test_whoever_writes_a_run_does_not_write_its_status(runs: Runs) -> None:
    made = runs.create({**BASE, "status": {"progress": "21/21", "conditions": COMPLETE}})
    assert "status" not in made


def test_a_list_shows_how_a_run_stands(runs: Runs) -> None:
    runs.create(dict(BASE))
    assert runs.write_status("toy", FULL_STATUS).code == 200
    columns, cells = runs.table()
    assert columns == ["Name", "Status", "Round", "Stage", "Progress", "Accuracy", "Age"]
    assert cells[:6] == ["toy", "Completed", 2, "evaluate", "21/21", 0.71]


def test_people_find_runs_by_short_name_and_category_and_wait_for_their_end(
    control_plane: Cluster, runs: Runs
) -> None:
    runs.create(dict(BASE))
    assert runs.write_status("toy", {"conditions": COMPLETE}).code == 200
    for name in ("sfr", "selfie", "selfierun"):
        assert "toy" in control_plane.kubectl("get", name)
    control_plane.kubectl("wait", "--for=condition=Complete", "sfr/toy", "--timeout=30s")


def test_kubectl_explains_each_field_with_bounds_default_and_choices(
    control_plane: Cluster, api: RawApi
) -> None:
    # What is explained comes a little after what is served.
    told = until(lambda: explained(control_plane, "sfr.spec.training"))
    assert "How a policy is trained." in told
    assert "Passes over a round's pairs. From 1 to 1000; default 1." in told
    assert "enum: online, offline, none" in told
    assert 'A decimal in quotes, above 0 to 100; default "0.1".' in told


def explained(cluster: Cluster, field: str) -> str | None:
    try:
        return " ".join(cluster.kubectl("explain", field).split())
    except Unavailable:
        return None


FULL_STATUS: dict[str, Any] = {
    "observedGeneration": 1,
    "conditions": COMPLETE,
    "reasonSince": "2026-01-01T00:00:00Z",
    "round": 2,
    "stage": "evaluate",
    "step": "rounds/02/evaluate",
    "progress": "21/21",
    "fraction": 1.0,
    "progressTime": "2026-01-01T00:00:00Z",
    "etaSeconds": 0,
    "attempt": 1,
    "restarts": 2,
    "failures": {
        "count": 1,
        "attempt": 1,
        "lastFailureTime": "2026-01-01T00:00:00Z",
        "reason": "StepFailed",
        "message": "x" * 2048,
        "retryable": False,
    },
    "startTime": "2026-01-01T00:00:00Z",
    "stageStartTime": "2026-01-01T00:00:00Z",
    "completionTime": "2026-01-01T00:00:00Z",
    "pausedSince": "2026-01-01T00:00:00Z",
    "pausedSeconds": 1.5,
    "stagePausedSeconds": 0.5,
    "rounds": [
        {
            "round": number,
            "policyRound": max(number - 1, 0),
            "counts": {"kept": 32, "dropped": 2**62},
            "noisyShare": 0.1,
            "loss": 0.6931,
            "onlineNoisyShare": 0.1,
            "onlineNoisyPairs": 3,
            "accuracy": {"value": 0.71, "low": 0.6, "high": 0.8, "mean": 0.7, "n": 64},
            "meanLength": 61.5,
            "divergence": 0.02,
            "finishedShare": 0.9,
            "duplicateShare": 0.0,
            "emptyShare": 0.0,
            "checkpoint": {"step": f"rounds/{number:02d}/publish", "digest": "d" * 64},
            "breaches": ["0.600 of responses repeat an earlier one, beyond maxDuplicateShare 0.5"],
        }
        for number in range(20)
    ],
    "best": {"round": 2, "step": "rounds/02/publish", "digest": "d" * 64, "accuracy": 0.71},
}
