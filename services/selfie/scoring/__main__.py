"""``python -m selfie.scoring --policy DIR --reference DIR``: serves until SIGTERM."""

from pydantic_settings import CliApp

from selfie.models.cache import default_cache
from selfie.models.resolve import resolve_model
from selfie.rpc.replicas import Replica
from selfie.rpc.server import Service, run
from selfie.scoring.allocator import keep_memory
from selfie.scoring.core import Scorer
from selfie.scoring.loading import Weights, found_pair, load_scorer
from selfie.scoring.pairs import FoundPair, WeightPairs
from selfie.scoring.places import FIELD, PairName
from selfie.scoring.prompts import PromptCache
from selfie.scoring.servicer import SERVICE_NAME, MoreWeights, scoring_service
from selfie.scoring.settings import ScoringSettings


def main() -> None:
    """Reads the settings and serves."""
    settings = CliApp.run(ScoringSettings)
    keep_memory()
    # One for all weights: they are asked by one thread.
    prompts = PromptCache(settings.prompt_cache_mib << 20)

    def weights(field: str, uri: str, digest: str, *, verify: bool) -> Weights:
        adapters = field.endswith("policy")
        found = resolve_model(uri, cache_root=default_cache(), field=field, adapters=adapters)
        return Weights(found.directory, digest, verify=verify)

    def load() -> Scorer:
        verify = settings.verify_weights
        return load_scorer(
            weights("policy", settings.policy, settings.policy_digest, verify=verify),
            weights("reference", settings.reference, settings.reference_digest, verify=verify),
            device=settings.device,
            token_budget=settings.batch_token_budget,
            calibration=settings.calibration,
            precision=settings.precision,
            prompts=prompts,
        )

    def find(name: PairName) -> FoundPair:
        return found_pair(
            weights(f"{FIELD}.policy", name.policy, name.policy_digest, verify=True),
            weights(f"{FIELD}.reference", name.reference, name.reference_digest, verify=True),
            device=settings.device,
            token_budget=settings.batch_token_budget,
            precision=settings.precision,
            prompts=prompts,
        )

    async def build() -> Service:
        return scoring_service(
            load,
            replica=Replica.of("scoring", settings),
            token_budget=settings.token_budget,
            limits=settings.online_limits,
            more=MoreWeights(settings.places, WeightPairs(find, max_bytes=settings.weights_memory_mib << 20)),
        )

    run(SERVICE_NAME, settings, build)


if __name__ == "__main__":
    main()
