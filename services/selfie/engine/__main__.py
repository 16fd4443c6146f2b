"""``python -m selfie.engine --weights DIR``: serves one checkpoint until SIGTERM."""

from pydantic_settings import CliApp

from selfie.engine.loading import load
from selfie.engine.servicer import SERVICE_NAME, engine_service
from selfie.engine.settings import EngineSettings
from selfie.rpc.server import Service, run


def main() -> None:
    """Reads the settings and serves."""
    settings = CliApp.run(EngineSettings)

    async def build() -> Service:
        return engine_service(lambda: load(settings.checkpoint, settings.limits))

    run(SERVICE_NAME, settings, build)


if __name__ == "__main__":
    main()
