"""The proof that an engine serves a round's policy: the manifest of the step `serve`."""

import asyncio

from selfie.artifacts.manifests import Manifest, ManifestRef, manifest_path, publish, read_ref
from selfie.errors import FailedPrecondition
from selfie.generation.engines import Engine, EngineIdentity, require_weights
from selfie.rpc.operation_context import OperationContext


async def verify_engine(
    context: OperationContext, engine: Engine, policy_digest: str
) -> tuple[EngineIdentity, ManifestRef, Manifest]:
    """Publishes who serves, if those are the policy's weights; proven again, it is the first proof.

    Raises `FailedPrecondition` ``WeightsMismatch`` if the engine serves other weights, or if the
    step was already proven for others.
    """
    identity = await engine.identity()
    require_weights(identity, policy_digest)
    proof = context.manifest(
        inputs=_inputs(identity),
        parameters={
            "engine": identity.engine,
            "precision": identity.precision,
            "maxContextTokens": identity.max_context_tokens,
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
