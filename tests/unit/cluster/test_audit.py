"""The API server's audit log, read while it is written."""

import json
from pathlib import Path
from typing import Any

from cluster.audit import events


def _line(**target: str) -> dict[str, Any]:
    return {
        "verb": "patch",
        "user": {"username": "system:serviceaccount:team:selfie-operator"},
        "userAgent": "kopf",
        "objectRef": {"resource": "selfieruns", "namespace": "team", "name": "demo", **target},
        "responseStatus": {"code": 200},
        "requestReceivedTimestamp": "2026-11-21T10:00:00.000001Z",
    }


def test_an_event_names_the_account_and_the_rule_it_used(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    log.write_text(json.dumps(_line(apiGroup="selfie.dev", subresource="status")) + "\n")
    (event,) = events(log)
    assert event.account == "team:selfie-operator"
    assert event.rule == ("selfie.dev", "selfieruns/status", "patch")


def test_a_line_that_is_being_written_waits_for_its_end(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    log.write_text(json.dumps(_line()) + "\n" + json.dumps(_line())[:40])
    assert len(list(events(log))) == 1


def test_a_log_that_is_not_there_yet_has_no_events(tmp_path: Path) -> None:
    assert list(events(tmp_path / "audit.jsonl")) == []
