"""Which weights a call may name."""

import pytest

from selfie.errors import InvalidInput, PermissionDenied
from selfie.scoring.places import PairName, Places

OPEN = Places(["file:///models", "s3://bucket/runs/"])
BOUND = Places(["file:///models"], {"ada": ["file:///models/ada"], "bob": []})


def named(uri: str) -> PairName:
    return PairName(uri, "file:///models/base")


@pytest.mark.parametrize("uri", ["file:///models", "file:///models/a/b", "s3://bucket/runs/1/weights/"])
def test_what_lies_below_a_prefix_may_be_named(uri: str):
    OPEN.check(named(uri), None)


@pytest.mark.parametrize(
    "uri",
    [
        "file:///models2/a",
        "/models/a",
        "s3://bucket/run",
        "file:///models/../etc",
        "file:///models/%2e%2e/etc",
        "file:///models/a?b",
        "hf://models/a",
        "builtin://smollm2-135m-instruct",
    ],
)
def test_what_does_not_or_is_written_in_a_roundabout_way_is_refused_by_its_field(uri: str):
    with pytest.raises(InvalidInput) as caught:
        OPEN.check(named(uri), None)
    assert caught.value.field == "options.weights.policy"
    with pytest.raises(InvalidInput) as caught:
        OPEN.check(PairName("file:///models/a", uri), None)
    assert caught.value.field == "options.weights.reference"


def test_without_a_prefix_nothing_may_be_named():
    with pytest.raises(InvalidInput, match="--weights-prefixes"):
        Places().check(named("file:///models/a"), None)


def test_a_token_is_bound_to_its_own_prefixes_on_both_sides():
    own = PairName("file:///models/ada/1", "file:///models/ada/0")
    BOUND.check(own, "api-token:ada")
    for caller in ("api-token:bob", "api-token:eve", None):
        with pytest.raises(PermissionDenied):
            BOUND.check(own, caller)
    with pytest.raises(PermissionDenied):
        BOUND.check(named("file:///models/ada/1"), "api-token:ada")
