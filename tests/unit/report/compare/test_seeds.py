"""Runs that differ in their random seed alone, together."""

import pytest

from selfie.compare.comparing import compare_runs
from selfie.compare.specs import replicates, spec_differences


def entries(found, number: int, reading: str = "summed"):
    return [each for each in found.groups if (each.round, each.reading) == (number, reading)]


def judge(right: int, n: int = 20) -> list[float]:
    return [1.0] * right + [-1.0] * (n - right)


def test_runs_are_alike_whatever_their_name_seed_and_place(spec_of):
    specs = {
        "a": spec_of("a", seed=1).spec,
        "b": spec_of("b", seed=2, artifacts={"uri": "s3://bucket/runs"}).spec,
        # A default that is written out.
        "c": spec_of("c", seed=3, training__beta="0.1").spec,
        "d": spec_of("d", seed=4, training__beta="0.2").spec,
        "e": spec_of("e", seed=5, retries=7).spec,
    }
    assert replicates(specs) == [["a", "b", "c", "e"]]


def test_what_differs_is_told_by_the_fields_path(spec_of):
    specs = {
        "a": spec_of("a", seed=1).spec,
        "b": spec_of("b", seed=1, training__lora={"rank": 8}, scoring__judge="longest").spec,
    }
    found = {each.field: dict(each.values) for each in spec_differences(specs)}
    assert found == {
        "spec.scoring.judge": {"a": "implicit", "b": "longest"},
        "spec.training.lora.rank": {"b": 8},
        "spec.training.lora.alpha": {"b": 32},
    }
    assert spec_differences({"a": specs["a"]}) == ()


def test_the_seeds_of_a_group_are_shown_each_and_as_a_mean(judged):
    runs = [judged(f"s{seed}", judge(10), judge(10 + seed), seed=seed) for seed in (1, 2, 3)]
    found = compare_runs(runs, runs[0])
    (entry,) = entries(found, 1)
    assert [(seed.run, seed.random_seed, seed.accuracy) for seed in entry.seeds] == [
        ("s1", 1, 0.55),
        ("s2", 2, 0.6),
        ("s3", 3, 0.65),
    ]
    assert entry.mean.accuracy.value == pytest.approx(0.6)
    # Student's t of 2 degrees is 4.3027, and the standard error 0.05/√3.
    assert entry.mean.accuracy.high - 0.6 == pytest.approx(4.3027 * 0.05 / 3**0.5, abs=1e-5)
    assert found.runs[0].group == entry.group == "s1 + 2 more"


def test_each_seed_of_the_baselines_group_is_held_against_its_own_round(judged):
    runs = [
        judged("s1", judge(10), judge(14), seed=1),
        judged("s2", judge(14), judge(18), seed=2),
    ]
    found = compare_runs(runs, runs[0])
    (entry,) = entries(found, 1)
    assert entry.against == "each seed's own round 0"
    assert [seed.difference for seed in entry.seeds] == pytest.approx([0.2, 0.2])
    (first,) = entries(found, 0)
    assert first.mean.difference is None
    assert first.verdict is None


def test_another_group_is_held_against_the_baselines_run_of_the_same_seed(judged, spec_of):
    base = [judged(f"b{seed}", judge(8 + 2 * seed), seed=seed) for seed in (1, 2, 3)]
    other = [
        judged(f"o{seed}", judge(9 + 2 * seed), run=spec_of(f"o{seed}", seed=seed, training__beta="0.2"))
        for seed in (3, 2, 1)
    ]
    found = compare_runs([*base, *other], base[0])
    entry = next(each for each in entries(found, 0) if each.group == "o3 + 2 more")
    assert entry.against == "round 0 of b1 + 2 more with the same seed"
    assert [seed.difference for seed in entry.seeds] == pytest.approx([0.05] * 3)


def test_a_group_against_a_single_run_is_said_to_be_that(judged, spec_of):
    base = judged("base", judge(10), run=spec_of("base", seed=1, training__beta="0.2"))
    runs = [judged(f"s{seed}", judge(12 + seed), seed=seed) for seed in (1, 2)]
    (entry,) = entries(compare_runs([base, *runs], base), 0)
    assert entry.against.startswith("round 0 of base alone")
    assert [seed.difference for seed in entry.seeds] == pytest.approx([0.15, 0.2])


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        ((3, 4, 5, 4, 3, 5), "better"),
        ((-3, -4, -5, -4, -3, -5), "worse"),
        ((3, -4, 5, -4, 3, -5), "no difference established"),
        ((3, 4, 5, 4, 3), "too few seeds for a claim"),
    ],
)
def test_a_claim_needs_six_seeds_that_agree(judged, gains, verdict):
    runs = [judged(f"s{seed}", judge(10), judge(10 + gain), seed=seed) for seed, gain in enumerate(gains)]
    found = compare_runs(runs, runs[0])
    assert {each.verdict for each in found.groups if each.round == 1} == {verdict}
    too_few = [each for each in found.remarks if "6 random seeds or more" in each]
    assert bool(too_few) == (len(gains) < 6)


def test_six_seeds_of_which_one_disagrees_establish_nothing(judged):
    # Student would be sure of it; the sign test of 5 against 1 is not.
    gains = (8, 8, 9, 9, 8, -1)
    runs = [judged(f"s{seed}", judge(10), judge(10 + gain), seed=seed) for seed, gain in enumerate(gains)]
    (entry,) = entries(compare_runs(runs, runs[0]), 1)
    assert entry.mean.difference.low > 0
    assert entry.verdict == "no difference established"


def test_groups_with_too_few_seeds_make_no_other_row_stricter(judged, spec_of):
    gains = (3, 4, 5, 4, 3, 5)
    runs = [judged(f"s{seed}", judge(10), judge(10 + gain), seed=seed) for seed, gain in enumerate(gains)]
    few = [
        judged(f"o{seed}", judge(10), judge(12), run=spec_of(f"o{seed}", seed=seed, training__beta="0.2"))
        for seed in (1, 2)
    ]
    alone, beside = (compare_runs(among, runs[0]).groups for among in (runs, [*runs, *few]))
    assert [each for each in beside if len(each.seeds) == 6] == list(alone)
    of_few = [each for each in beside if len(each.seeds) == 2]
    assert {(each.mean.adjusted_p, each.verdict) for each in of_few} == {(None, "too few seeds for a claim")}
    assert all(each.mean.p_value is not None for each in of_few)


@pytest.mark.parametrize("second", [{"seed": 1}, {"seed": 2, "weights": "same"}])
def test_equal_seeds_and_equal_weights_count_once(judged, second):
    runs = [
        judged("one", judge(10), seed=1, weights="same"),
        judged("again", judge(10), **second),
        judged("two", judge(12), seed=3),
    ]
    found = compare_runs(runs, runs[0])
    (entry,) = entries(found, 0)
    assert [seed.run for seed in entry.seeds] == ["one", "two"]
    assert [each for each in found.remarks if each.startswith("again has the random seed or the weights")]


def test_a_run_by_itself_is_no_group(judged):
    run = judged("one", judge(10))
    found = compare_runs([run], run)
    assert found.groups == ()
    assert found.runs[0].group is None
