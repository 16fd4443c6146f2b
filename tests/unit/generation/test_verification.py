"""The proof that an engine serves a policy."""

import asyncio
from pathlib import Path

import pytest

from selfie.artifacts.manifests import read_manifest
from selfie.artifacts.store import Store, open_store
from selfie.errors import FailedPrecondition
from selfie.generation.canary import Verdict
from selfie.generation.engines import EngineIdentity
from selfie.generation.verification import verify_engine
from selfie.rpc.operation_context import OperationContext

POLICY, OTHER = "a" * 64, "f" * 64
STEP = "rounds/02/serve"


class NamedEngine:
    """Serves the weights that it is given."""

    def __init__(self, weights_digest: str) -> None:
        self._weights_digest = weights_digest

    async def identity(self) -> EngineIdentity:
        return EngineIdentity(self._weights_digest, "b" * 64, 2048, "float32", "toy/1")

    async def sample(self, prompts, parameters, *, weights_digest):
        raise NotImplementedError


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(f"file://{tmp_path}/run")


def context_of(store: Store, attempt: int = 1) -> OperationContext:
    return OperationContext(
        store=store, step=STEP, attempt=attempt, writer="w", run_uid="uid", loop=asyncio.get_running_loop()
    )


async def test_the_proof_is_the_steps_manifest_and_says_who_serves(store):
    identity, ref, proof = await verify_engine(context_of(store), NamedEngine(POLICY), POLICY)
    assert identity.weights_digest == POLICY
    assert ref.path == f"{STEP}/manifest.json"
    assert read_manifest(store, STEP) == proof
    assert (proof.round, proof.weights_digest) == (2, POLICY)
    assert proof.inputs == {"policy": POLICY, "tokenizer": "b" * 64}
    assert proof.parameters == {"engine": "toy/1", "precision": "float32", "maxContextTokens": 2048}


async def test_an_engine_with_other_weights_proves_nothing(store):
    with pytest.raises(FailedPrecondition) as caught:
        await verify_engine(context_of(store), NamedEngine(OTHER), POLICY)
    assert caught.value.reason == "WeightsMismatch"
    assert read_manifest(store, STEP) is None


async def test_proving_again_gives_the_first_proof(store):
    _, first, _ = await verify_engine(context_of(store), NamedEngine(POLICY), POLICY)
    _, second, proof = await verify_engine(context_of(store, attempt=2), NamedEngine(POLICY), POLICY)
    assert second == first
    assert proof.attempt == 1


async def test_a_step_already_proven_for_other_weights_is_not_taken_for_proof(store):
    await verify_engine(context_of(store), NamedEngine(POLICY), POLICY)
    with pytest.raises(FailedPrecondition, match="already proves"):
        await verify_engine(context_of(store), NamedEngine(OTHER), OTHER)


async def test_the_canarys_word_is_part_of_the_proof(store):
    async def sings(engine):
        return Verdict("inconclusive", 0.01, 0.011, 0.02)

    _, _, proof = await verify_engine(context_of(store), NamedEngine(POLICY), POLICY, sings)
    assert proof.parameters["canary"] == {
        "outcome": "inconclusive",
        "present": 0.01,
        "previous": 0.011,
        "noise": 0.02,
    }


async def test_an_engine_that_its_canary_refutes_proves_nothing(store):
    async def falls_silent(engine):
        return Verdict("refuted", 0.5, 0.01, 0.02)

    with pytest.raises(FailedPrecondition) as caught:
        await verify_engine(context_of(store), NamedEngine(POLICY), POLICY, falls_silent)
    assert caught.value.reason == "CanaryRefuted"
    assert read_manifest(store, STEP) is None
