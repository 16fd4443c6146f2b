"""Proofs that engines serve the weights that are meant, each made once however often it is asked for.

A canary takes longer than a caller may wait. Whoever asks again waits for the same proof.
"""

import asyncio
from typing import TypeAlias

from selfie.artifacts.manifests import Manifest, ManifestRef
from selfie.generation.canary import Verdict
from selfie.generation.engines import Engine, EngineIdentity
from selfie.generation.fronts import Fronts
from selfie.generation.judging import Judges
from selfie.generation.messages import kind_of, weights_of
from selfie.generation.policies import PolicyTokenizers
from selfie.generation.verification import Canary, verify_engine
from selfie.rpc.operation_context import OperationContext
from selfie.rpc.replicas import Replica
from selfie.v1 import generation_pb2

Proof: TypeAlias = tuple[EngineIdentity, ManifestRef, Manifest]


class Proofs:
    """Those that are being made, by run, step and attempt."""

    def __init__(self, fronts: Fronts, judges: Judges, replica: Replica) -> None:
        self._fronts = fronts
        self._judges = judges
        self._replica = replica
        self._tokenizers = PolicyTokenizers()
        self._under_way: dict[tuple[str, str, int], asyncio.Task[Proof]] = {}

    async def of(self, request: generation_pb2.VerifyEngineRequest) -> Proof:
        """The proof, once it is there; see `verify_engine`."""
        attempt = request.attempt
        key = (attempt.run_uri, attempt.step, attempt.number)
        if key not in self._under_way:
            making = asyncio.create_task(self._make(request))
            making.add_done_callback(lambda _: self._under_way.pop(key, None))
            self._under_way[key] = making
        return await asyncio.shield(self._under_way[key])

    async def _make(self, request: generation_pb2.VerifyEngineRequest) -> Proof:
        attempt = request.attempt
        place = OperationContext(
            store=await asyncio.to_thread(self._replica.open_store, attempt.run_uri),
            step=attempt.step,
            attempt=attempt.number,
            writer=self._replica.owner,
            run_uid=attempt.run_uid,
            loop=asyncio.get_running_loop(),
        )
        engine = await self._fronts.of(kind_of(request)).of_policy(place, weights_of(request.policy))
        return await verify_engine(place, engine, request.policy.digest, self._canary(place, request))

    def _canary(self, place: OperationContext, request: generation_pb2.VerifyEngineRequest) -> Canary | None:
        if not request.HasField("previous"):
            return None

        async def canary(engine: Engine) -> Verdict:
            tokenizer = await self._tokenizers.of(place.store, weights_of(request.policy))
            digests = {"policy": request.policy.digest, "previous": request.previous.digest}
            return await self._judges.verdict(engine, place.run_uid, tokenizer, **digests)

        return canary
