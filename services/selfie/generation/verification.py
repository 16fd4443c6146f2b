"""The proof that an engine serves a round's policy: the manifest of the step `serve`."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict

from selfie.artifacts.manifests import Manifest, ManifestRef, manifest_path, publish, read_ref
from selfie.errors import FailedPrecondition
from selfie.generation.canary import Verdict, require_not_refuted
from selfie.generation.engines import Engine, EngineIdentity, require_weights
from selfie.rpc.operation_context import OperationContext

Canary = Callable[[Engine], Awaitable[Verdict]]


async def verify_engine(
    context: OperationContext, engine: Engine, policy_digest: str, canary: Canary | None = None
) -> tuple[EngineIdentity, ManifestRef, Manifest]:
    """Publishes who serves, if those are the policy's weights; proven again, it is the first proof.

    ``canary`` holds the engine's numbers against the scorer's before anything is sampled. Raises
    `FailedPrecondition` ``WeightsMismatch`` if the engine serves other weights, or if the step was
    already proven for others, and ``CanaryRefuted`` if it computes with others.
    """
    identity = await engine.identity()
    require_weights(identity, policy_digest)
    verdict = None if canary is None else await canary(engine)
    if verdict is not None:
        require_not_refuted(verdict, policy_digest)
    proof = context.manifest(
        inputs=_inputs(identity),
        parameters={
            "engine": identity.engine,
            "precision": identity.precision,
            "maxContextTokens": identity.max_context_tokens,
            **({} if verdict is None else {"canary": asdict(verdict)}),
        },
        weights_digest=policy_digest,
    )
    ref = await asyncio.to_thread(publish, context.store, proof)
    published = await asyncio.to_thread(read_ref, context.store, ref)
    if published.weights_digest != policy_digest:
        raise FailedPrecondition(
            "WeightsMismatch",
            f"{manifest_path(context.step)} already proves the weights {published.weights_digest}, "
            f"not {policy_digest}",
        )
    return identity, ref, published


def _inputs(identity: EngineIdentity) -> dict[str, str]:
    known = {"policy": identity.weights_digest, "tokenizer": identity.tokenizer_digest}
    return {name: digest for name, digest in known.items() if digest}
