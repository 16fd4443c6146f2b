"""``python -m selfie.scoring --policy DIR --reference DIR``: serves until SIGTERM."""

from pydantic_settings import CliApp

from selfie.rpc.replicas import Replica
from selfie.rpc.server import Service, run
from selfie.scoring.core import Scorer
from selfie.scoring.loading import load_scorer
from selfie.scoring.servicer import scoring_service
from selfie.scoring.settings import ScoringSettings


def main() -> None:
    """Reads the settings and serves."""
    settings = CliApp.run(ScoringSettings)

    def load() -> Scorer:
        return load_scorer(
            settings.policy_weights,
            settings.reference_weights,
            device=settings.device,
            token_budget=settings.token_budget,
        )

    async def build() -> Service:
        return scoring_service(
            load,
            replica=Replica.of("scoring", settings),
            max_waiting_calls=settings.max_waiting_calls,
        )

    run(settings, build)


if __name__ == "__main__":
    main()
