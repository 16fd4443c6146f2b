import pytest

from selfie.artifacts.checks import check
from selfie.artifacts.inventory import take_inventory

WEIGHTS = "rounds/00/seed/a1/checkpoint-w/model.safetensors"


def findings_in(made, *steps):
    inventory = take_inventory(made.store)
    return list(check(made.store, inventory, steps or {*inventory.published, *inventory.unreadable}))


def test_a_run_as_it_was_made_has_nothing_to_be_said_of(made):
    made.whole(0.6, 0.7, 0.8)
    assert findings_in(made) == []


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        pytest.param(lambda store: store.delete(WEIGHTS), "is missing", id="a file that is gone"),
        pytest.param(lambda store: store.write(WEIGHTS, b"short"), "has 5 bytes", id="a file cut short"),
        pytest.param(
            lambda store: store.write(WEIGHTS, store.read(WEIGHTS)[::-1]),
            "has the SHA-256",
            id="a file with other bytes",
        ),
    ],
)
def test_damage_to_a_file_is_told_once_with_what_to_do(made, damage, problem):
    made.whole(0.6)
    damage(made.store)
    [finding] = findings_in(made)
    assert (finding.kind, finding.step, finding.path) == ("damaged", "rounds/00/seed", WEIGHTS)
    assert finding.problem.startswith(problem)
    assert finding.remedy.startswith("restore it from a copy, or delete rounds/00/seed")
    assert "\n" not in str(finding)


def test_only_the_steps_that_are_asked_for_are_read(made):
    made.whole(0.6, 0.7)
    made.store.delete(WEIGHTS)
    assert findings_in(made, "rounds/01/train") == []
    assert [finding.path for finding in findings_in(made, "rounds/00/publish")] == [WEIGHTS]


def test_a_manifest_that_cannot_be_read_is_damage(made):
    made.whole(0.6)
    made.store.write("rounds/00/serve/manifest.json", b"[]")
    [finding] = findings_in(made)
    assert (finding.kind, finding.path) == ("damaged", "rounds/00/serve/manifest.json")
    assert "is not a manifest" in finding.problem


def test_what_nobody_names_in_the_attempt_that_published_is_a_remark(made):
    made.whole(0.6)
    made.store.write("rounds/00/seed/a1/checkpoint-x/model.safetensors", b"of a start that was lost")
    [finding] = findings_in(made)
    assert (finding.kind, finding.path) == ("remark", "rounds/00/seed/a1/checkpoint-x/model.safetensors")


def test_a_step_that_was_made_anew_no_longer_fits_those_after_it(made):
    made.whole(0.6, 0.7)
    made.store.delete("rounds/00/publish")
    made.store.write("rounds/00/seed/a1/checkpoint-w/other.txt", b"")
    file = made.file("rounds/00/publish/a1/checkpoint-v/model.safetensors", b"others", group="checkpoint")
    made.publish("rounds/00/publish", file, inputs={"checkpoint": made.digest("rounds/00/seed")})
    damaged = [finding for finding in findings_in(made) if finding.kind == "damaged"]
    assert [finding.step for finding in damaged] == [
        "rounds/00/serve",
        "rounds/00/evaluate-heldout",
        "rounds/01/generate",
        "rounds/01/score",
        "rounds/01/filter",
        "rounds/01/train",
        "rounds/01/train",
    ]
    assert all("which no earlier step has published" in finding.problem for finding in damaged)


def test_data_that_was_made_anew_no_longer_fits_what_was_made_from_it(made):
    made.whole(0.6, 0.7)
    made.store.delete("rounds/01/score/manifest.json")
    made.publish("rounds/01/score", counts={"pairs": 3})
    [finding] = findings_in(made, "rounds/01/filter")
    assert "was made from the input " in finding.problem


def test_weights_that_are_not_those_that_their_manifest_says_are_damage(made):
    made.prepare(rounds=1)
    file = made.file("rounds/00/seed/a1/model.safetensors", b"weights", group="checkpoint")
    made.publish("rounds/00/seed", file, weights_digest="0" * 64)
    [finding] = findings_in(made)
    assert finding.problem.startswith(f"says that its weights are {'0' * 64}")
