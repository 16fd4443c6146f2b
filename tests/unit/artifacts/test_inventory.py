from selfie.artifacts.inventory import AttemptPlace, attempt_of, take_inventory


def test_steps_are_in_the_order_in_which_they_are_done(made):
    made.whole(0.6, 0.7)
    assert list(take_inventory(made.store).published) == [
        "prepare",
        "rounds/00/seed",
        "rounds/00/publish",
        "rounds/00/serve",
        "rounds/00/evaluate-heldout",
        "rounds/01/generate",
        "rounds/01/score",
        "rounds/01/filter",
        "rounds/01/train",
        "rounds/01/publish",
        "rounds/01/serve",
        "rounds/01/evaluate-heldout",
    ]


def test_files_that_a_step_took_over_are_named_by_both(made):
    made.whole(0.6)
    names = take_inventory(made.store).names
    assert names["rounds/00/seed/a1/checkpoint-w/model.safetensors"] == {
        ("rounds/00/seed", "checkpoint"),
        ("rounds/00/publish", "checkpoint"),
    }


def test_only_what_lies_in_an_attempt_at_a_step_belongs_to_one():
    assert attempt_of("rounds/01/train/a12/work-1/x") == AttemptPlace("rounds/01/train", 12)
    for path in ("rounds/01/train/manifest.json", "report/a1/index.html", "rounds/01/other/a1/x", "a1/x"):
        assert attempt_of(path) is None


def test_records_and_side_cars_are_not_among_what_nobody_names(made):
    made.whole(0.6)
    place = AttemptPlace("rounds/00/evaluate-heldout", 1)
    for name in ("operation.json", "asked", "pairs-00000-w.parquet.json", "pairs-00000-other.parquet"):
        made.store.write(f"{place.path}/{name}", b"{}")
    assert take_inventory(made.store).unnamed(place) == (f"{place.path}/pairs-00000-other.parquet",)


def test_what_a_run_has_beside_its_steps_is_not_looked_at(made):
    made.whole(0.6)
    before = take_inventory(made.store).sizes
    made.write_run(rounds=1)
    for path in ("status.json", "report/index.html", ".local/cache/weights/1/model.safetensors"):
        made.store.write(path, b"x")
    assert take_inventory(made.store).sizes == before


def test_a_manifest_that_cannot_be_read_is_told_and_the_others_are_read(made):
    made.whole(0.6)
    made.store.write("rounds/00/serve/manifest.json", b"{")
    inventory = take_inventory(made.store)
    assert set(inventory.unreadable) == {"rounds/00/serve"}
    assert "rounds/00/evaluate-heldout" in inventory.published
