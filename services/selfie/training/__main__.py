"""``python -m selfie.training``: the training controller with jobs as processes of this machine."""

from pydantic_settings import CliApp

from selfie.rpc.server import Service, run
from selfie.training.servicer import training_service
from selfie.training.settings import TrainingSettings


def main() -> None:
    """Reads the settings and serves."""
    settings = CliApp.run(TrainingSettings)

    async def build() -> Service:
        return training_service(settings)

    run(settings, build)


if __name__ == "__main__":
    main()
