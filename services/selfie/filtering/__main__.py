"""``python -m selfie.filtering``: serves until SIGTERM."""

import platform
import uuid

from pydantic_settings import CliApp

from selfie.filtering.servicer import filtering_service
from selfie.rpc.server import Service, run
from selfie.rpc.settings import ServerSettings
from selfie.rpc.stores import store_opener


def main() -> None:
    """Reads the settings, which are those of every service, and serves."""
    settings = CliApp.run(ServerSettings)

    async def build() -> Service:
        owner = f"filtering-{platform.node()}-{uuid.uuid4().hex[:8]}"
        return filtering_service(store_opener(settings.artifact_roots), owner)

    run(settings, build)


if __name__ == "__main__":
    main()
