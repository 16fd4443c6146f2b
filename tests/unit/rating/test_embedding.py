"""Embeddings on the tiny checkpoint: of the response alone, given its prompt, however rows are batched."""

from pathlib import Path

import numpy as np
import pytest
import torch

from selfie.models.loading import load_policy
from selfie.rating.embedding import TOKENS_AT_ONCE, Row, batches, embed

ROWS = [Row([5, 6, 7], [20, 21, 22, 23]), Row([8], [30]), Row([5, 6, 7, 8, 9, 10], [40, 41])]


@pytest.fixture(scope="module")
def model(tiny_checkpoint: Path):
    return load_policy(tiny_checkpoint)


def test_an_embedding_is_the_mean_of_the_responses_final_states(model):
    found = embed(model, ROWS, lambda _: None)
    assert found.shape == (3, 64)
    for row, each in zip(ROWS, found, strict=True):
        ids = torch.tensor([[*row.prompt_ids, *row.response_ids]])
        with torch.no_grad():
            states = model(input_ids=ids, output_hidden_states=True).hidden_states[-1][0]
        alone = states[len(row.prompt_ids) :].mean(dim=0).numpy()
        assert each == pytest.approx(alone, abs=1e-5)


def test_the_prompt_is_read_and_not_averaged_over(model):
    here, there = embed(model, [Row([5, 6], [20, 21]), Row([7, 8], [20, 21])], lambda _: None)
    assert np.abs(here - there).max() > 1e-3


def test_every_row_is_counted_once_and_the_same_rows_give_the_same_bytes(model):
    done: list[int] = []
    found = embed(model, ROWS, done.append)
    assert sum(done) == len(ROWS)
    assert found.tobytes() == embed(model, ROWS, done.append).tobytes()


def test_a_response_without_tokens_has_no_embedding(model):
    found = embed(model, [Row([5, 6], []), Row([5, 6], [20])], lambda _: None)
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()


def test_batches_hold_every_row_once_within_their_budget():
    lengths = [TOKENS_AT_ONCE + 5, 3, 1000, 2000, 900, 3, 1500]
    found = list(batches(lengths))
    assert sorted(index for batch in found for index in batch) == list(range(len(lengths)))
    assert found[0] == [0]
    for batch in found[1:]:
        assert max(lengths[index] for index in batch) * len(batch) <= TOKENS_AT_ONCE
    assert list(batches([])) == []
