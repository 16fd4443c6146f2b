"""The flags that make the scorer judge by a round of a run."""

import io
import math
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from selfie.artifacts.manifests import FileEntry, Manifest, publish
from selfie.artifacts.store import Store
from selfie.artifacts.weights import directory_digest
from selfie.cli.ports import usual_ports
from selfie.cli.serving import scorer_arguments
from selfie.errors import DataCorrupted, FailedPrecondition, InvalidInput
from selfie.local.places import open_run
from selfie.runs.load import parse_run
from selfie.runs.status import BestRound, RunStatus
from selfie.scoring.calibrations import read_calibration

RUN = """
apiVersion: selfie.dev/v1alpha1
kind: SelfieRun
metadata: {name: toy}
spec:
  model: {uri: builtin://toy}
  seed: {dataset: /seed.jsonl, heldout: /heldout.jsonl}
  rounds: [{prompts: {dataset: /a}}, {prompts: {dataset: /b}}, {prompts: {dataset: /c}}]
"""
NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A run of three rounds, of which two are published and the first is the best."""
    local = open_run(parse_run(RUN), (tmp_path / "runs").as_uri())
    for step, group in (
        ("prepare", "model"),
        ("rounds/00/publish", "checkpoint"),
        ("rounds/01/publish", "checkpoint"),
        ("rounds/02/publish", "checkpoint"),
    ):
        path = f"{step}/a1/{group}/config.json"
        local.store.write(path, f"weights of {step}".encode())
        found = local.store.digest(path)
        entry = FileEntry(group=group, name="config.json", path=path, sha256=found.sha256, bytes=found.bytes)
        manifest = Manifest(
            run_uid="u",
            round=0,
            step=step,
            attempt=1,
            writer="w",
            files=(entry,),
            started_at=NOW,
            finished_at=NOW,
        )
        publish(local.store, manifest)
    best = BestRound(round=1, step="rounds/01/publish", digest="a" * 64, accuracy=0.75)
    local.write_status(RunStatus(best=best))
    return local.store


def flags(store: Store, number: int | None, cache: Path) -> dict[str, str]:
    *pairs, last = scorer_arguments(store, number, cache)
    assert last == "--no-verify-weights"
    return dict(zip(pairs[::2], pairs[1::2], strict=True))


def contents(directory: str) -> str:
    return (Path(directory) / "config.json").read_text()


def test_the_best_round_judges_against_the_initial_model(store: Store, tmp_path: Path):
    found = flags(store, None, tmp_path / "cache")
    assert contents(found["--policy"]) == "weights of rounds/01/publish"
    assert contents(found["--reference"]) == "weights of prepare"
    for role in ("policy", "reference"):
        assert found[f"--{role}-digest"] == directory_digest(Path(found[f"--{role}"]))


def test_another_round_can_be_named(store: Store, tmp_path: Path):
    assert contents(flags(store, 2, tmp_path / "cache")["--policy"]) == "weights of rounds/02/publish"


def test_a_scorer_listens_where_people_expect_it_unless_it_is_told_otherwise():
    usual = ["--port", "50051", "--http-port", "8080", "--metrics-port", "9090"]
    assert usual_ports(["--policy", "p"], {}) == usual
    assert usual_ports(["--port", "1", "--http-port=2"], {}) == usual[4:]
    assert usual_ports([], {"SELFIE_METRICS_PORT": "3", "SELFIE_HTTP_PORT": "4"}) == usual[:2]


def test_without_what_http_takes_a_scorer_serves_the_rest():
    usual = ["--port", "50051", "--metrics-port", "9090"]
    assert usual_ports([], {}, serves_http=False) == usual
    assert usual_ports(["--http-port", "8080"], {}, serves_http=False) == usual


def heldout(store: Store, *, policy: str, reference: str, pairs: int = 40) -> None:
    """Publishes pairs of round 1, of which people chose the one of greater reward in three of four."""
    rows = [
        {
            "policy_digest": policy,
            "reference_digest": reference,
            "chosen_policy_logprob": -10.0 if number % 4 else -12.0,
            "chosen_reference_logprob": -11.0,
            "rejected_policy_logprob": -11.0,
            "rejected_reference_logprob": -11.0,
            "chosen_tokens": 10,
            "rejected_tokens": 10,
        }
        for number in range(pairs)
    ]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    path = "rounds/01/evaluate-heldout/a1/pairs-00000-w.parquet"
    store.write(path, buffer.getvalue())
    found = store.digest(path)
    entry = FileEntry(
        group="pairs", name="pairs", path=path, sha256=found.sha256, bytes=found.bytes, rows=pairs
    )
    manifest = Manifest(
        run_uid="u",
        round=1,
        step="rounds/01/evaluate-heldout",
        attempt=1,
        writer="w",
        files=(entry,),
        started_at=NOW,
        finished_at=NOW,
    )
    publish(store, manifest)


def digests(store: Store, cache: Path) -> tuple[str, str]:
    found = flags(store, 1, cache)
    return found["--policy-digest"], found["--reference-digest"]


def test_a_round_that_was_held_against_people_comes_with_its_calibration(store: Store, tmp_path: Path):
    policy, reference = digests(store, tmp_path)
    heldout(store, policy=policy, reference=reference)
    fit = read_calibration(
        Path(flags(store, 1, tmp_path)["--calibration"]), policy_digest=policy, reference_digest=reference
    )
    # Where the greater reward, by one nat, is right in three of four, sigmoid(slope) is three quarters.
    assert 1 / (1 + math.exp(-fit.slopes["sum"])) == pytest.approx(0.75, abs=0.03)
    assert fit.slopes["mean"] == pytest.approx(10 * fit.slopes["sum"])
    assert fit.pairs == 40


def test_pairs_that_are_too_few_calibrate_nothing(store: Store, tmp_path: Path):
    policy, reference = digests(store, tmp_path)
    heldout(store, policy=policy, reference=reference, pairs=29)
    assert "--calibration" not in flags(store, 1, tmp_path)


def test_pairs_of_other_weights_calibrate_nothing(store: Store, tmp_path: Path):
    policy, _ = digests(store, tmp_path)
    heldout(store, policy=policy, reference="f" * 64)
    assert "--calibration" not in flags(store, 1, tmp_path)


@pytest.mark.parametrize("number", [-1, 4])
def test_a_round_that_the_run_never_has_is_refused(store: Store, tmp_path: Path, number: int):
    with pytest.raises(InvalidInput, match=r"--round.*from 0, the seed, to 3"):
        scorer_arguments(store, number, tmp_path)


def test_a_round_that_is_not_published_yet_is_said_to_be_so(store: Store, tmp_path: Path):
    with pytest.raises(FailedPrecondition, match="rounds/03/publish yet"):
        scorer_arguments(store, 3, tmp_path)


def test_a_run_that_nothing_was_measured_of_has_no_best_round(store: Store, tmp_path: Path):
    store.write("status.json", b"{}")
    with pytest.raises(FailedPrecondition, match="--round"):
        scorer_arguments(store, None, tmp_path)


def test_damaged_weights_never_judge(store: Store, tmp_path: Path):
    store.write("rounds/01/publish/a1/checkpoint/config.json", b"weights of somebody else    ")
    with pytest.raises(DataCorrupted):
        scorer_arguments(store, None, tmp_path / "cache")
