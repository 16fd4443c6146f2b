"""Weights that a call names, through a real port, with tokens that are bound to places."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from prometheus_client import REGISTRY

from selfie.artifacts.store import open_store
from selfie.artifacts.weights import directory_digest
from selfie.errors import DataCorrupted, InvalidInput, PermissionDenied
from selfie.rpc.channels import connect, domain_errors
from selfie.rpc.replicas import Replica
from selfie.rpc.server import RunningServer
from selfie.rpc.settings import ServerSettings
from selfie.scoring.core import Scorer
from selfie.scoring.loading import Weights, found_pair
from selfie.scoring.pairs import FoundPair, WeightPairs
from selfie.scoring.places import PairName, Places
from selfie.scoring.prompts import PromptCache
from selfie.scoring.servicer import MoreWeights, scoring_service
from selfie.v1 import scoring_pb2, scoring_pb2_grpc


@pytest.fixture
def models(tmp_path: Path, tiny_checkpoint: Path, perturbed_checkpoint: Path) -> Path:
    """A directory of checkpoints: ``ada/policy`` and ``ada/base``, and ``eve/policy``."""
    root = tmp_path / "models"
    shutil.copytree(perturbed_checkpoint, root / "ada/policy")
    shutil.copytree(tiny_checkpoint, root / "ada/base")
    shutil.copytree(perturbed_checkpoint, root / "eve/policy")
    return root


@pytest.fixture
async def stub(
    scorer: Scorer, models: Path, tmp_path: Path
) -> AsyncIterator[scoring_pb2_grpc.ScoringServiceStub]:
    prompts = PromptCache(1 << 20)

    def find(name: PairName) -> FoundPair:
        sides = ((name.policy, name.policy_digest), (name.reference, name.reference_digest))
        weights = [Weights(Path(uri.removeprefix("file://")), digest) for uri, digest in sides]
        return found_pair(*weights, device="cpu", token_budget=256, prompts=prompts)

    tokens = tmp_path / "tokens"
    tokens.mkdir()
    (tokens / "ada").write_text("secret")
    prefix = models.as_uri()
    more = MoreWeights(Places([prefix], {"ada": [f"{prefix}/ada"]}), WeightPairs(find, max_bytes=1 << 24))
    replica = Replica(owner="t", open_store=open_store)
    service = scoring_service(lambda: scorer, replica=replica, more=more)
    server = RunningServer(ServerSettings(drain_seconds=1, api_tokens=tokens), service)
    await server.start()
    async with connect(f"127.0.0.1:{server.port}") as channel:
        yield scoring_pb2_grpc.ScoringServiceStub(channel)
    await server.stop()


async def compare(
    stub, models: Path, policy: str, *, second: str = "Seven boats.", **digests: str
) -> scoring_pb2.CompareResponse:
    weights = scoring_pb2.WeightPair(
        policy=f"{models.as_uri()}/{policy}", reference=f"{models.as_uri()}/ada/base", **digests
    )
    request = scoring_pb2.CompareRequest(
        prompt=scoring_pb2.PromptInput(text="Why?"),
        first=scoring_pb2.ResponseInput(text="So."),
        second=scoring_pb2.ResponseInput(text=second),
        options=scoring_pb2.ScoringOptions(weights=weights if policy else None),
    )
    metadata = grpc.aio.Metadata(("authorization", "Bearer secret"))
    async with domain_errors():
        answer: scoring_pb2.CompareResponse = await stub.Compare(request, timeout=60, metadata=metadata)
    return answer


async def test_a_call_is_answered_by_the_weights_that_it_names(stub, models: Path):
    named, own = await compare(stub, models, "ada/policy"), await compare(stub, models, "")
    assert named.provenance.policy_digest == directory_digest(models / "ada/policy")
    assert named.margin == pytest.approx(own.margin, abs=own.tie_band)
    swapped = await compare(stub, models, "ada/base")
    assert swapped.provenance.policy_digest == swapped.provenance.reference_digest
    assert swapped.preference == scoring_pb2.PREFERENCE_TIE
    assert named.preference != scoring_pb2.PREFERENCE_TIE


async def test_a_prompt_that_is_asked_about_again_is_known_by_the_weights_that_computed_it(
    stub, models: Path
):
    async def hits(policy: str, second: str) -> float:
        before = _prompts("hit")
        await compare(stub, models, policy, second=second)
        return _prompts("hit") - before

    assert await hits("ada/policy", "One.") == 0
    assert await hits("ada/policy", "Two.") > 0
    # The weights of one pair's reference are those of another's policy.
    assert await hits("ada/base", "Three.") > 0


def _prompts(result: str) -> float:
    return REGISTRY.get_sample_value("selfie_scoring_prompts_total", {"result": result}) or 0.0


async def test_a_token_opens_no_weights_but_its_own(stub, models: Path):
    with pytest.raises(PermissionDenied, match="eve"):
        await compare(stub, models, "eve/policy")
    with pytest.raises(InvalidInput):
        await compare(stub, models, "../secret")


async def test_weights_that_are_not_the_promised_ones_are_not_used(stub, models: Path):
    with pytest.raises(DataCorrupted, match="fetch the weights again"):
        await compare(stub, models, "ada/policy", policy_digest="f" * 64)
    good = directory_digest(models / "ada/policy")
    assert (await compare(stub, models, "ada/policy", policy_digest=good)).provenance.policy_digest == good
