"""The engine that the rest of generation sees: samples drawn through a fleet, and only believed when proven.

What a call returns was sampled by servers that said before and after that they serve the weights
meant. Samples of a server that can't say so afterwards are thrown away and drawn again from
another one, with the same seeds: none is lost, none is counted twice, none is of other weights.
"""

from collections.abc import Sequence

import structlog

from selfie.errors import FailedPrecondition, Unavailable
from selfie.generation.engines import (
    EngineFault,
    EngineIdentity,
    Policy,
    Sample,
    SamplingParameters,
    SeededPrompt,
)
from selfie.generation.fleet.checks import PromptChecks
from selfie.generation.fleet.members import Fleet
from selfie.generation.fleet.replicas import Replica
from selfie.generation.fleet.servers import Wanted
from selfie.generation.flow import run_bounded
from selfie.generation.retries import RetryLimits, persisting
from selfie.generation.seeds import renewed_seed

log = structlog.get_logger()

# Short: this is for moments. Whoever can wait for an engine to come back waits outside (`RetryingEngine`).
MOMENTARY = RetryLimits(attempts=12, seconds=45.0, first_wait_s=0.25, longest_wait_s=8.0)
_MOST_PROOFS = 5


class FleetEngine:
    """The fleet, asked on behalf of one policy; makes nothing that must be closed."""

    def __init__(
        self, fleet: Fleet, policy: Policy, checks: PromptChecks, limits: RetryLimits = MOMENTARY
    ) -> None:
        self._fleet = fleet
        self._policy = policy
        self._checks = checks
        self._limits = limits

    async def identity(self) -> EngineIdentity:
        """Who answers right now; see `Fleet.identity`."""
        return await self._fleet.identity(self._policy.weights_digest)

    async def sample(
        self, prompts: Sequence[SeededPrompt], parameters: SamplingParameters, *, weights_digest: str
    ) -> list[list[Sample]]:
        """See `selfie.generation.engines.Engine.sample`."""
        policy = Policy(weights_digest, self._policy.tokenizer)
        drawing = [
            _Drawing(self, prompt, Wanted(prompt.prompt_ids, parameters, policy)) for prompt in prompts
        ]
        missing = list(drawing)
        for _ in range(_MOST_PROOFS):
            await run_bounded((one.run() for one in missing), at_once=len(missing))
            used = {replica for one in missing for replica in one.replicas}
            proven = await self._fleet.still_serving(used, weights_digest)
            missing = [one for one in missing if not one.replicas <= proven]
            if not missing:
                return [one.samples for one in drawing]
            log.warning(
                "samples are drawn again, because who drew them can't be proven",
                prompts=len(missing),
                replicas=sorted(replica.server.where for replica in used - proven),
            )
        raise Unavailable("the engine's replicas change faster than samples can be proven to be the policy's")

    async def draw(self, wanted: Wanted, seeds: tuple[int, ...]) -> tuple[Replica, list[Sample]]:
        """One request, until it is answered, for as many of the seeds as it may ask for.

        An engine's own failure is answered with other seeds, once.
        """
        try:
            return await persisting(self._limits)(self._ask, wanted, seeds)
        except EngineFault as error:
            log.warning("the engine failed; it is asked once more, with other seeds", error=str(error))
            renewed = tuple(renewed_seed(seed) for seed in seeds)
            return await persisting(self._limits)(self._ask, wanted, renewed)

    async def _ask(self, wanted: Wanted, seeds: tuple[int, ...]) -> tuple[Replica, list[Sample]]:
        replica = await self._fleet.acquire(wanted.key, wanted.policy.weights_digest)
        server = replica.server
        try:
            await self._checks.check(server, wanted)
            samples = await server.draw(wanted, seeds[: server.most_seeds])
        except Unavailable as error:
            replica.fail(error)
            raise
        except FailedPrecondition as error:
            if error.reason != "WeightsMismatch":
                raise
            # Another replica may serve the right ones; if none does, nobody is found to be asked.
            replica.fail(error)
            raise Unavailable(str(error)) from error
        finally:
            await self._fleet.release(replica)
        replica.succeed()
        return replica, samples


class _Drawing:
    """The samples of one prompt: the first ahead, so that the others find the prompt computed."""

    def __init__(self, engine: FleetEngine, prompt: SeededPrompt, wanted: Wanted) -> None:
        self._engine = engine
        self._seeds = prompt.seeds
        self._wanted = wanted
        self._found: dict[int, Sample] = {}
        self.replicas: set[Replica] = set()

    @property
    def samples(self) -> list[Sample]:
        """One for each seed, in their order."""
        return [self._found[place] for place in range(len(self._seeds))]

    async def run(self) -> None:
        """Draws all of them, from the beginning if there are some already."""
        self._found, self.replicas = {}, set()
        await self._draw(0, len(self._seeds))
        at_once = len(self._found)
        rest = range(at_once, len(self._seeds), at_once)
        await run_bounded((self._fill(start, start + at_once) for start in rest), at_once=max(1, len(rest)))

    async def _fill(self, start: int, end: int) -> None:
        while start < min(end, len(self._seeds)):
            start += await self._draw(start, min(end, len(self._seeds)))

    async def _draw(self, start: int, end: int) -> int:
        """Asks once, beginning with the seed at ``start``; how many samples came."""
        replica, samples = await self._engine.draw(self._wanted, self._seeds[start:end])
        self.replicas.add(replica)
        self._found.update(enumerate(samples, start))
        return len(samples)
