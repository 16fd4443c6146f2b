"""``python -m selfie.filtering``: serves until SIGTERM."""

from pydantic_settings import CliApp

from selfie.filtering.servicer import SERVICE_NAME, filtering_service
from selfie.rpc.replicas import Replica
from selfie.rpc.server import Service, run
from selfie.rpc.settings import ServerSettings


def main() -> None:
    """Reads the settings, which are those of every service, and serves."""
    settings = CliApp.run(ServerSettings)

    async def build() -> Service:
        return filtering_service(Replica.of("filtering", settings))

    run(SERVICE_NAME, settings, build)


if __name__ == "__main__":
    main()
