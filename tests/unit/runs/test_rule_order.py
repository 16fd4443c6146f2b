"""The order of the planner's rules is a promise of its own."""

from selfie.runs.rules import RULES


def test_the_rules_are_asked_in_the_promised_order():
    assert [rule.__name__ for rule in RULES] == [
        "run_is_over",
        "cancel_was_asked_for",
        "suspend_was_asked_for",
        "store_is_unavailable",
        "every_step_is_published",
        "run_deadline_has_passed",
        "stage_deadline_has_passed",
        "inputs_are_incomplete",
        "failure_is_final",
        "attempt_must_wait",
        "service_cannot_come_back",
        "work_is_pending",
        "work_is_running",
        "manifest_is_not_yet_seen",
        "accelerator_is_still_held",
        "services_are_not_ready",
        "step_is_due",
    ]


def test_every_rule_says_what_it_finds():
    assert all(rule.__doc__ for rule in RULES)
