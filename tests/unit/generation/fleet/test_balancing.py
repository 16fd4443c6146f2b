"""Which replica a prompt goes to."""

from collections import Counter

from selfie.generation.fleet.balancing import Load, pick, preference

NAMES = [f"http://10.0.0.{number}:80" for number in range(1, 5)]
KEYS = [number.to_bytes(4, "big") for number in range(1000)]


def test_prompts_spread_evenly_over_idle_replicas():
    idle = {name: Load(0, 100) for name in NAMES}
    counts = Counter(pick(idle, key) for key in KEYS)
    assert set(counts) == set(NAMES)
    assert min(counts.values()) > 200


def test_a_prompt_goes_where_it_went_before():
    loads = {name: Load(number, 100) for number, name in enumerate(NAMES)}
    assert [pick(loads, key) for key in KEYS] == [pick(dict(reversed(loads.items())), key) for key in KEYS]


def test_only_the_prompts_of_a_replica_that_goes_move_to_others():
    before = {key: preference(key, NAMES)[0] for key in KEYS}
    after = {key: preference(key, NAMES[1:])[0] for key in KEYS}
    assert {key for key in KEYS if before[key] != after[key]} == {
        key for key in KEYS if before[key] == NAMES[0]
    }


def test_a_prompt_leaves_its_own_replica_when_that_is_much_busier_than_another():
    key = KEYS[0]
    own = preference(key, NAMES)[0]
    busy = {name: Load(20 if name == own else 0, 100) for name in NAMES}
    assert pick(busy, key) == own
    too_busy = {name: Load(30 if name == own else 0, 100) for name in NAMES}
    assert pick(too_busy, key) != own


def test_busy_is_measured_by_what_each_takes():
    loads = {NAMES[0]: Load(40, 50), NAMES[1]: Load(45, 500)}
    assert {pick(loads, key) for key in KEYS} == {NAMES[1]}


def test_nobody_is_picked_while_all_are_as_busy_as_they_may_be():
    assert pick({name: Load(8, 8) for name in NAMES}, KEYS[0]) is None
    assert pick({}, KEYS[0]) is None
