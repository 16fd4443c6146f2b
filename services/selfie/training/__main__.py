"""``python -m selfie.training``: the training controller, with jobs as processes or as Kubernetes Jobs."""

from contextlib import AsyncExitStack

from pydantic_settings import CliApp

from selfie.rpc.server import Service, run
from selfie.training.servicer import SERVICE_NAME, service_of, training_service
from selfie.training.settings import TrainingSettings


async def build(settings: TrainingSettings) -> Service:
    """The service that the settings describe."""
    if settings.backend == "local":
        return training_service(settings)
    # What speaks to an API server is installed where there is one.
    from selfie.training.cluster.service import cluster_jobs

    open_until_closed = AsyncExitStack()
    jobs = await open_until_closed.enter_async_context(cluster_jobs(settings))
    return service_of(jobs, settings, open_until_closed.aclose)


def main() -> None:
    """Reads the settings and serves."""
    settings = CliApp.run(TrainingSettings)
    run(SERVICE_NAME, settings, lambda: build(settings))


if __name__ == "__main__":
    main()
