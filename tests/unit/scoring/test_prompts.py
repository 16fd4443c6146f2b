"""The cache of prompts: what is kept, what is forgotten first, whose it is."""

import pytest
import torch

from selfie.scoring.prompts import KeptPrompt, PromptCache


def prompt(tokens: int) -> KeptPrompt:
    """32 bytes for each token, and 8."""
    each = torch.zeros(1, 1, 2, tokens, 2)
    return KeptPrompt(each, each, torch.zeros(1, 2))


def test_the_prompt_that_was_not_used_for_longest_is_forgotten_first():
    cache = PromptCache(120)
    for ids in ((1,), (2,), (3,)):
        cache.keep("a", ids, prompt(1))
    assert set(cache.recall("a", [(1,)])) == {(1,)}
    cache.keep("a", (4,), prompt(1))
    assert set(cache.recall("a", [(1,), (2,), (3,), (4,)])) == {(1,), (3,), (4,)}


def test_a_prompt_belongs_to_the_weights_and_products_that_computed_it():
    cache = PromptCache(1000)
    cache.keep("a", (1,), prompt(1))
    assert cache.recall("b", [(1,)]) == {}
    assert set(cache.recall("a", [(1,)])) == {(1,)}


@pytest.mark.parametrize("bytes_", [0, 39])
def test_what_does_not_fit_is_not_kept(bytes_: int):
    cache = PromptCache(bytes_)
    cache.keep("a", (1,), prompt(1))
    assert cache.recall("a", [(1,)]) == {}
    assert cache.enabled == bool(bytes_)
