"""What the estimate repeats of the services, because it may not import them: it must be the same."""

from selfie.dispatch.requests import PAIRS_PER_SHARD, RESPONSES_PER_SHARD
from selfie.engine import decoding
from selfie.engine.batching import Limits
from selfie.engine.settings import EngineSettings
from selfie.prepare import program
from selfie.runs.estimates import memory, shapes, work
from selfie.scoring import backbones, head
from selfie.scoring.settings import ScoringSettings
from selfie.training.trainer import parity, response_head


def test_the_engine_decodes_as_many_at_once():
    fields = EngineSettings.model_fields
    assert Limits() == Limits(rows=work.ENGINE_ROWS, tokens=work.ENGINE_TOKENS)
    assert fields["max_batch_rows"].default == work.ENGINE_ROWS
    assert fields["max_batch_tokens"].default == work.ENGINE_TOKENS
    assert decoding._PREFILL_TOKENS == memory.PREFILL_TOKENS


def test_the_scorer_computes_as_many_tokens_at_once():
    assert ScoringSettings.model_fields["batch_token_budget"].default == memory.SCORED_TOKENS


def test_prompts_are_shared_for_the_same_architectures():
    assert backbones.SHARING == shapes.SHARING


def test_tiles_of_logits_have_the_same_size():
    assert head.Tile().tokens * head.Tile().columns == memory.SCORED_TILE
    assert response_head.ROWS * response_head.COLUMNS == memory.TILE


def test_as_many_pairs_are_compared_with_the_scorer():
    assert parity.SAMPLE == work.PARITY_PAIRS


def test_shards_have_as_many_rows():
    assert RESPONSES_PER_SHARD == PAIRS_PER_SHARD == work.SHARD_ROWS
    assert program._ROWS_PER_SHARD == work.PREPARED_ROWS
