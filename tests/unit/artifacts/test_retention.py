"""How checkpoints go: recorded before anything is deleted, wholly or not at all, and only once."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from selfie.artifacts.checks import check
from selfie.artifacts.inventory import take_inventory
from selfie.artifacts.retention import forgotten_weights, removals, remove
from selfie.artifacts.store import Store
from selfie.artifacts.weights import pull
from selfie.errors import DataCorrupted, FailedPrecondition, Unavailable
from selfie.runs.retention import Dispensable

NOW = datetime(2026, 3, 2, tzinfo=UTC)
TRAINED = Dispensable("rounds/00/seed", "checkpoint", "rounds/00/publish has taken it over")
PUBLISHED = Dispensable("rounds/00/publish", "checkpoint", "round 0 is not the best")
FILES_OF_ROUND_0 = {
    "rounds/00/seed/a1/checkpoint-w/model.safetensors",
    "rounds/00/seed/a1/checkpoint-w/config.json",
    "rounds/00/publish/a1/checkpoint-w/config.json",
    "rounds/00/publish/a1/checkpoint-w/README.md",
}


def let_go(made, *wanted: Dispensable) -> None:
    inventory = take_inventory(made.store)
    remove(made.store, inventory, removals(inventory, wanted), NOW)


def paths_of(made) -> set[str]:
    return set(made.store.sizes(""))


def test_a_round_goes_with_its_weights_and_what_is_left_is_whole(made):
    made.whole(0.6, 0.7)
    before = paths_of(made)
    let_go(made, PUBLISHED, TRAINED)
    records = {"rounds/00/seed/retired.json", "rounds/00/publish/retired.json"}
    assert paths_of(made) == before - FILES_OF_ROUND_0 | records
    inventory = take_inventory(made.store)
    found = list(check(made.store, inventory, inventory.published))
    assert {(finding.kind, finding.step) for finding in found} == {
        ("removed", "rounds/00/seed"),
        ("removed", "rounds/00/publish"),
    }


def test_what_two_groups_share_is_counted_with_the_first(made):
    made.whole(0.6, 0.7)
    let_go(made, PUBLISHED, TRAINED)
    retired = take_inventory(made.store).retired
    assert retired["rounds/00/publish"].bytes == 900 + len('{"round": 0}') + len("# Round 0\n")
    assert retired["rounds/00/seed"].bytes == len('{"trained": true}')
    assert retired["rounds/00/seed"].retired_at == NOW
    assert retired["rounds/00/publish"].reason == PUBLISHED.reason


@pytest.mark.parametrize("wanted", [TRAINED, PUBLISHED], ids=["trained", "published"])
def test_weights_that_another_group_names_stay_and_so_does_all_that_belongs_to_them(made, wanted):
    made.whole(0.6, 0.7)
    before = paths_of(made)
    let_go(made, wanted)
    assert paths_of(made) == before


def test_a_trained_policy_goes_alone_where_it_was_published_as_a_copy(made):
    made.whole(0.6)
    made.store.delete("rounds/00/publish")
    copy = made.file("rounds/00/publish/a1/checkpoint-v/model.safetensors", b"merged", group="checkpoint")
    made.publish("rounds/00/publish", copy)
    let_go(made, TRAINED)
    assert not [path for path in paths_of(made) if path.startswith("rounds/00/seed/a1/checkpoint")]
    assert copy.path in paths_of(made)


def test_what_prepare_made_stays_although_a_round_that_goes_was_published_from_it(made):
    made.prepare(rounds=1)
    model = [
        entry.model_copy(update={"group": "checkpoint"})
        for entry in made.manifest("prepare")[0].group("model")
    ]
    made.publish("rounds/00/publish", *model)
    before = paths_of(made)
    let_go(made, PUBLISHED)
    assert paths_of(made) == before


def test_letting_go_twice_is_letting_go_once(made):
    made.whole(0.6, 0.7)
    let_go(made, PUBLISHED, TRAINED)
    before = {path: made.store.read(path) for path in paths_of(made)}
    assert removals(take_inventory(made.store), [PUBLISHED, TRAINED]) == ()
    let_go(made, PUBLISHED, TRAINED)
    assert {path: made.store.read(path) for path in paths_of(made)} == before


class Breaking(Store):
    """A store that fails at the ``at``-th change."""

    def __init__(self, store: Store, at: int) -> None:
        super().__init__(store.uri, store._files)
        self.left = at

    def change(self, act: Callable[[], None]) -> None:
        if self.left == 0:
            raise Unavailable("the store is gone")
        self.left -= 1
        act()

    def create(self, path: str, data: bytes) -> None:
        self.change(lambda: super(Breaking, self).create(path, data))

    def delete(self, prefix: str) -> None:
        self.change(lambda: super(Breaking, self).delete(prefix))


@pytest.mark.parametrize("at", range(6))
def test_wherever_it_is_interrupted_nothing_looks_damaged_and_the_next_one_finishes(made, at):
    made.whole(0.6, 0.7)
    inventory = take_inventory(made.store)
    with pytest.raises(Unavailable):
        remove(Breaking(made.store, at), inventory, removals(inventory, [PUBLISHED, TRAINED]), NOW)
    between = take_inventory(made.store)
    assert "damaged" not in {finding.kind for finding in check(made.store, between, between.published)}
    let_go(made, PUBLISHED, TRAINED)
    assert not paths_of(made) & FILES_OF_ROUND_0


def test_a_group_that_was_only_recorded_does_not_take_from_one_that_stays_after_all(made):
    made.whole(0.6, 0.7)
    inventory = take_inventory(made.store)
    with pytest.raises(Unavailable):
        remove(Breaking(made.store, 1), inventory, removals(inventory, [PUBLISHED, TRAINED]), NOW)
    let_go(made)
    assert "rounds/00/seed/a1/checkpoint-w/model.safetensors" in paths_of(made)


def test_a_record_of_an_earlier_manifest_of_the_step_lets_nothing_of_the_present_one_go(made):
    made.whole(0.6, 0.7)
    let_go(made, PUBLISHED, TRAINED)
    for step in ("seed", "publish"):
        made.store.delete(f"rounds/00/{step}/manifest.json")
    weights = made.file("rounds/00/seed/a2/checkpoint-v/model.safetensors", b"again", group="checkpoint")
    made.publish("rounds/00/seed", weights, attempt=2)
    made.publish("rounds/00/publish", weights)
    assert take_inventory(made.store).retired == {}
    let_go(made, PUBLISHED, TRAINED)
    assert weights.path in paths_of(made)


def test_nothing_goes_while_a_manifest_cannot_be_read(made):
    made.whole(0.6, 0.7)
    made.store.write("rounds/01/train/manifest.json", b"{")
    with pytest.raises(DataCorrupted, match="nothing is removed"):
        let_go(made, PUBLISHED, TRAINED)


def test_who_pulls_what_has_gone_is_told_why(made, tmp_path):
    made.whole(0.6, 0.7)
    let_go(made, PUBLISHED, TRAINED)
    with pytest.raises(FailedPrecondition, match="removed by retention: round 0 is not the best"):
        pull(made.store, made.manifest("rounds/00/publish")[0].group("checkpoint"), tmp_path)


def test_only_weights_that_no_group_has_any_more_are_forgotten(made):
    made.whole(0.6, 0.7)
    inventory = take_inventory(made.store)
    found = removals(inventory, [PUBLISHED, TRAINED])
    assert forgotten_weights(inventory, found) == {
        made.digest("rounds/00/seed"),
        made.digest("rounds/00/publish"),
    }
    assert forgotten_weights(inventory, ()) == frozenset()
