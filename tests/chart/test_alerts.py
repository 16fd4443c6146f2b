"""Each alert fires in the state that it is for, and in no other: promtool plays the series to it."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from prometheus import ALERTS, alerts, promtool

RUNBOOKS = Path(__file__).parents[2] / "docs/runbooks"
OF = 'namespace="selfie"'
RUN = f'{OF}, run="toy"'
POD = f'{OF}, pod="p"'
OPERATOR = f'up{{{POD}, job="selfie-operator"}}'
SCORE = f'{OF}, method="selfie.v1.ScoringService/Score"'
Series = Mapping[str, str]


def calls(**codes: str) -> Series:
    return {f'selfie_grpc_handled_total{{{SCORE}, code="{code}"}}': values for code, values in codes.items()}


def slow(seconds: str) -> Series:
    """Calls of which all are within a bucket that ends at so many seconds."""
    name = "selfie_grpc_handling_seconds_bucket"
    others = {le: "0x60" if float(le) < float(seconds) else "0+60x60" for le in ("1.0", "2.5", "7.5", "10.0")}
    return {f'{name}{{{SCORE}, le="{le}"}}': values for le, values in (*others.items(), ("+Inf", "0+60x60"))}


def info(state: str, reason: str = "Why") -> Series:
    return {f'selfie_run_info{{{RUN}, state="{state}", reason="{reason}"}}': "1x60"}


REASON = f'{OF}, method="m", state="failed"'

CASES: Mapping[str, tuple[Series, Series]] = {
    # alert: (series at which it fires, series at which it does not); a value a minute, for an hour
    "SelfieOperatorDown": ({OPERATOR: "0x60"}, {OPERATOR: "1x60"}),
    "SelfieOperatorNoLeader": (
        {f"selfie_operator_is_leader{{{POD}}}": "0x60"},
        {f"selfie_operator_is_leader{{{POD}}}": "1x60"},
    ),
    "SelfieOperatorTwoLeaders": (
        {f'selfie_operator_is_leader{{{OF}, pod="{pod}"}}': "1x60" for pod in "ab"},
        {
            f'selfie_operator_is_leader{{{OF}, pod="{pod}"}}': leads
            for pod, leads in (("a", "1x60"), ("b", "0x60"))
        },
    ),
    "SelfieWatchStale": (
        {OPERATOR: "1x60", f"selfie_operator_watch_last_event_timestamp_seconds{{{POD}}}": "0x60"},
        {OPERATOR: "1x60", f"selfie_operator_watch_last_event_timestamp_seconds{{{POD}}}": "0+60x60"},
    ),
    "SelfieQueueStuck": (
        {f"selfie_operator_queue_oldest_seconds{{{POD}}}": "400x60"},
        {f"selfie_operator_queue_oldest_seconds{{{POD}}}": "200x60"},
    ),
    "SelfieReconcileErrorRatio": (
        {f'selfie_operator_reconcile_total{{{OF}, result="{r}"}}': "0+10x60" for r in ("success", "error")},
        {
            f'selfie_operator_reconcile_total{{{OF}, result="success"}}': "0+10x60",
            f'selfie_operator_reconcile_total{{{OF}, result="error"}}': "0+1x60",
        },
    ),
    "SelfieRunStalled": (info("stalled"), info("active")),
    "SelfieStageNearDeadline": (
        {
            f"selfie_run_stage_active_seconds{{{RUN}}}": "90x60",
            f"selfie_run_stage_deadline_seconds{{{RUN}}}": "100x60",
        },
        {f"selfie_run_stage_active_seconds{{{RUN}}}": "90x60"},
    ),
    "SelfieRunFailed": (info("failed"), {**info("complete"), **info("failed", "Cancelled")}),
    "SelfieGateCrossed": (
        {f'selfie_round_breaches{{{RUN}, round="1"}}': "1x60"},
        {f'selfie_round_breaches{{{RUN}, round="1"}}': "0x60"},
    ),
    "SelfieFilterKeepRatioOutOfRange": (
        {f'selfie_round_kept_ratio{{{RUN}, round="1"}}': "0.1x60"},
        {f'selfie_round_kept_ratio{{{RUN}, round="1"}}': "0.9x60"},
    ),
    "SelfieServingPolicyMismatch": (
        # It happened once, a moment ago, for the first time.
        {f'selfie_operations_ended_total{{{REASON}, reason="EngineChanged"}}': "_x55 1x5"},
        {
            f'selfie_operations_ended_total{{{REASON}, reason="EngineChanged"}}': "1x60",
            f'selfie_operations_ended_total{{{REASON}, reason="Unavailable"}}': "_x55 1x5",
        },
    ),
    "SelfieScorerErrorBudgetBurn": (
        calls(OK="0+90x60", INTERNAL="0+10x60"),
        # Long over: an hour ago much failed, and for ten minutes nothing does.
        calls(OK="0+90x60", INTERNAL="0+10x50 500x10"),
    ),
    "SelfieScorerLatencyP99": (slow("7.5"), slow("2.5")),
    "SelfieScorerShedding": (
        calls(OK="0+90x60", RESOURCE_EXHAUSTED="0+10x60"),
        calls(OK="0+99x60", RESOURCE_EXHAUSTED="0+1x60"),
    ),
    "SelfieServiceDown": (
        {f'up{{{POD}, job="selfie-training"}}': "0x60"},
        {f'up{{{POD}, job="selfie-training"}}': "1x60", f'up{{{POD}, job="other"}}': "0x60"},
    ),
    "SelfieCertificateExpiringSoon": (
        {f'selfie_certificate_expiry_timestamp_seconds{{{POD}, certificate="c"}}': f"{5 * 86400}x60"},
        {f'selfie_certificate_expiry_timestamp_seconds{{{POD}, certificate="c"}}': f"{9 * 86400}x60"},
    ),
    "SelfieArtifactStoreErrors": (
        {f'selfie_store_errors_total{{{OF}, scheme="s3", reason="Unavailable"}}': "0+1x60"},
        {f'selfie_store_errors_total{{{OF}, scheme="s3", reason="Unavailable"}}': "2x60"},
    ),
}


def firing(series: Series, alert: str, wanted: int, folder: Path) -> None:
    """promtool's test that after an hour so many alerts of this name fire."""
    expression = f'count(ALERTS{{alertname="{alert}", alertstate="firing"}}) or vector(0)'
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {"expr": expression, "eval_time": "60m", "exp_samples": [{"labels": "{}", "value": wanted}]}
        ],
    }
    file = folder / "test.yaml"
    file.write_text(
        yaml.safe_dump({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": [test]})
    )
    promtool("test", "rules", str(file))


def test_promtool_finds_nothing_wrong_with_the_rules():
    assert "SUCCESS" in promtool("check", "rules", str(ALERTS))


def test_every_alert_is_tested():
    assert set(CASES) == set(alerts())


@pytest.mark.parametrize("alert", CASES)
def test_it_fires_where_it_should(alert: str, tmp_path: Path):
    firing(CASES[alert][0], alert, 1, tmp_path)


@pytest.mark.parametrize("alert", CASES)
def test_it_is_silent_where_it_should_be(alert: str, tmp_path: Path):
    firing(CASES[alert][1], alert, 0, tmp_path)


def test_most_suspected_pairs_fire_too(tmp_path: Path):
    series = {f'selfie_round_noisy_ratio{{{RUN}, round="1"}}': "0.6x60"}
    firing(series, "SelfieFilterKeepRatioOutOfRange", 1, tmp_path)


def test_a_call_that_found_other_weights_fires_too(tmp_path: Path):
    series = {f'selfie_grpc_refused_total{{{OF}, method="m", reason="WeightsMismatch"}}': "0x50 1x10"}
    firing(series, "SelfieServingPolicyMismatch", 1, tmp_path)


@pytest.mark.parametrize("alert", sorted(alerts()))
def test_each_says_how_bad_it_is_and_has_a_page(alert: str):
    rule = alerts()[alert]
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert rule["annotations"]["summary"].endswith(".")
    assert rule["annotations"]["description"]
    page = (RUNBOOKS / f"{alert}.md").read_text()
    assert page.startswith(f"# {alert}\n")
    assert all(heading in page for heading in ("**What it does.**", "**Look.**", "**Mend.**"))


def test_there_is_no_page_for_an_alert_that_there_is_not():
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == set(alerts())
