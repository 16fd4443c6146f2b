"""Opens artifact stores for requests, below the allowed roots only."""

from collections.abc import Callable

from selfie.artifacts.store import Store, open_store
from selfie.errors import InvalidInput


def store_opener(roots: tuple[str, ...]) -> Callable[[str], Store]:
    """A function that opens the store of a run and refuses one outside ``roots``."""
    allowed = tuple(root.rstrip("/") for root in roots)

    def opened(run_uri: str) -> Store:
        uri = run_uri.rstrip("/")
        if ".." in uri.split("/") or not any(uri == root or uri.startswith(root + "/") for root in allowed):
            raise InvalidInput(
                "run_uri",
                f"{run_uri!r} is not below a root that this service may use",
                f"use one of {', '.join(allowed) or '(none is configured: start it with --artifact-roots)'}",
            )
        return open_store(uri)

    return opened
