"""What a cache believes, and what it does not."""

from typing import Any

from selfie.kube.api import Change, Listing
from selfie.kube.objects import JOB
from selfie_operator.caches import Cache
from selfie_operator.keys import Key

KEY = Key("team", "j")


def job(
    version: str, *, uid: str = "u1", name: str = "j", run_uid: str = "run-1", generation: int = 1
) -> Any:
    return {
        "metadata": {
            "namespace": "team",
            "name": name,
            "uid": uid,
            "resourceVersion": version,
            "generation": generation,
            "labels": {"selfie.dev/run-uid": run_uid},
        }
    }


def cache(*jobs: Any) -> Cache:
    made = Cache(JOB)
    made.replace(Listing(jobs, "100"))
    return made


def version(made: Cache) -> str | None:
    found = made.get(KEY)
    return found["metadata"]["resourceVersion"] if found else None


def test_a_cache_is_synced_by_its_first_list():
    made = Cache(JOB)
    assert not made.synced
    made.replace(Listing([], "1"))
    assert made.synced


def test_a_change_takes_the_place_of_what_was_there():
    made = cache(job("1"))
    update = made.apply(Change("MODIFIED", job("2")))
    assert update is not None
    assert (update.before, update.object) == (job("1"), made.get(KEY))
    assert version(made) == "2"


def test_a_change_that_is_already_known_is_no_news():
    made = cache(job("1"))
    assert made.apply(Change("ADDED", job("1"))) is None


def test_a_version_that_was_followed_by_another_does_not_come_back():
    made = cache(job("1"))
    for told in ("2", "3"):
        made.apply(Change("MODIFIED", job(told)))
    for replayed in ("1", "2"):
        assert made.apply(Change("MODIFIED", job(replayed))) is None
    assert version(made) == "3"


def test_versions_are_not_compared_as_numbers():
    made = cache(job("900"))
    assert made.apply(Change("MODIFIED", job("17"))) is not None
    assert version(made) == "17"


def test_an_older_generation_is_an_older_object():
    made = cache(job("5", generation=3))
    assert made.apply(Change("MODIFIED", job("4", generation=2))) is None


def test_a_deleted_object_does_not_come_back_by_a_replay():
    made = cache(job("1"))
    update = made.apply(Change("DELETED", job("2")))
    assert update is not None
    assert update.gone
    for replayed in ("ADDED", "MODIFIED"):
        assert made.apply(Change(replayed, job("1"))) is None
    assert made.get(KEY) is None


def test_a_deletion_that_comes_twice_is_no_news():
    made = cache(job("1"))
    made.apply(Change("DELETED", job("2")))
    assert made.apply(Change("DELETED", job("2"))) is None


def test_an_object_of_the_same_name_and_another_uid_is_another_object():
    made = cache(job("1"))
    update = made.apply(Change("ADDED", job("9", uid="u2")))
    assert update is not None
    assert update.before is None
    assert made.apply(Change("MODIFIED", job("8", uid="u1"))) is None
    assert version(made) == "9"


def test_the_deletion_of_the_former_one_leaves_the_present_one():
    made = cache(job("9", uid="u2"))
    assert made.apply(Change("DELETED", job("3", uid="u1"))) is None
    assert version(made) == "9"


def test_a_list_is_believed_even_where_it_goes_back():
    # A cluster that was restored from a backup has old versions and deleted objects again.
    made = cache(job("1"))
    made.apply(Change("MODIFIED", job("2")))
    made.replace(Listing([job("1")], "101"))
    assert version(made) == "1"
    made.apply(Change("DELETED", job("3")))
    made.replace(Listing([job("1")], "102"))
    assert version(made) == "1"
    assert made.apply(Change("MODIFIED", job("5"))) is not None


def test_a_list_tells_what_appeared_changed_and_vanished_and_nothing_else():
    made = cache(
        job("1", name="same", uid="a"), job("2", name="changes", uid="b"), job("3", name="goes", uid="c")
    )
    updates = made.replace(
        Listing(
            [
                job("1", name="same", uid="a"),
                job("7", name="changes", uid="b"),
                job("8", name="comes", uid="d"),
            ],
            "200",
        )
    )
    told = {(update.object["metadata"]["name"], update.before is None, update.gone) for update in updates}
    assert told == {("goes", False, True), ("changes", False, False), ("comes", True, False)}


def test_a_list_with_another_of_the_same_name_tells_of_both():
    made = cache(job("1"))
    updates = made.replace(Listing([job("5", uid="u2")], "200"))
    assert [(update.gone, update.object["metadata"]["uid"]) for update in updates] == [
        (True, "u1"),
        (False, "u2"),
    ]


def test_children_are_found_by_the_uid_of_their_run():
    made = cache(job("1"), job("2", name="k", uid="u2"), job("3", name="l", uid="u3", run_uid="run-2"))
    assert {found["metadata"]["name"] for found in made.of_run("run-1")} == {"j", "k"}
    made.apply(Change("DELETED", job("4")))
    assert [found["metadata"]["name"] for found in made.of_run("run-1")] == ["k"]
    made.apply(Change("MODIFIED", job("5", name="k", uid="u2", run_uid="run-2")))
    assert made.of_run("run-1") == []
