"""``python -m selfie.scoring --policy DIR --reference DIR``: serves until SIGTERM."""

from pydantic_settings import CliApp

from selfie.models.cache import default_cache
from selfie.models.resolve import resolve_model
from selfie.rpc.replicas import Replica
from selfie.rpc.server import Service, run
from selfie.scoring.core import Scorer
from selfie.scoring.loading import Weights, load_scorer
from selfie.scoring.servicer import scoring_service
from selfie.scoring.settings import ScoringSettings


def main() -> None:
    """Reads the settings and serves."""
    settings = CliApp.run(ScoringSettings)

    def weights(field: str, uri: str, digest: str) -> Weights:
        adapters = field == "policy"
        found = resolve_model(uri, cache_root=default_cache(), field=field, adapters=adapters)
        return Weights(found.directory, digest, verify=settings.verify_weights)

    def load() -> Scorer:
        return load_scorer(
            weights("policy", settings.policy, settings.policy_digest),
            weights("reference", settings.reference, settings.reference_digest),
            device=settings.device,
            token_budget=settings.token_budget,
            calibration=settings.calibration,
            precision=settings.precision,
            prompt_bytes=settings.prompt_cache_mib << 20,
        )

    async def build() -> Service:
        return scoring_service(
            load,
            replica=Replica.of("scoring", settings),
            token_budget=settings.token_budget,
            limits=settings.online_limits,
        )

    run(settings, build)


if __name__ == "__main__":
    main()
