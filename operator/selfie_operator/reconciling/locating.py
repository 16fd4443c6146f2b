"""Where a cluster's run reads and writes: relative places made absolute, all others refused or let pass.

A run is written by anybody who may create one, and is carried out with the release's own access
to files and stores. So a file is only read below the roots that the release names, and artifacts
are only put there.
"""

from collections.abc import Callable, Iterator, Sequence
from urllib.parse import unquote

from selfie.runs.names import run_path
from selfie.runs.relocating import below, with_sources
from selfie.runs.spec import SelfieRun
from selfie.runs.violations import InvalidRun, Violation

_SCHEMES = frozenset({"builtin", "file", "gs", "hf", "s3"})


def located(
    run: SelfieRun, *, sources_root: str, artifact_roots: Sequence[str], engines: Sequence[str]
) -> SelfieRun:
    """A run that is to begin, with absolute sources; `InvalidRun` with every place that it may not use.

    ``engines`` are the kinds that the release offers.
    """
    moved, found = _relocated(run, sources_root, (sources_root, *artifact_roots), lambda _: True)
    if run.spec.resume_from is not None:
        found.extend(_outside("spec.resumeFrom", run.spec.resume_from, artifact_roots))
    if run.spec.artifacts.uri is not None:
        found.extend(_outside("spec.artifacts.uri", run.spec.artifacts.uri, artifact_roots))
    found.extend(_not_for_a_cluster(run, engines))
    if found:
        raise InvalidRun(found)
    return moved


def require_added_rounds(
    run: SelfieRun, *, begun_with: int, sources_root: str, readable: Sequence[str]
) -> None:
    """Raises `InvalidRun` for places in rounds that were added since the run has begun with so many.

    ``sources_root`` is that of its beginning, ``readable`` what the release may read now. What it has
    begun with is not looked at again: the release may be another one by now.
    """
    added = tuple(f"spec.rounds[{index}]." for index in range(begun_with, len(run.spec.rounds)))
    _, found = _relocated(run, sources_root, readable, lambda field: field.startswith(added))
    if found:
        raise InvalidRun(found)


def run_uri(run: SelfieRun, *, namespace: str, uid: str, artifacts_root: str) -> str:
    """The run's root in the artifact store."""
    root = (run.spec.artifacts.uri or artifacts_root).rstrip("/")
    return f"{root}/{run_path(namespace, run.metadata.name, uid)}"


def is_below(uri: str, roots: Sequence[str]) -> bool:
    """Whether the place is one of the roots, or below one, however it is written."""
    place = _parts(uri)
    return place is not None and any(
        root is not None and place[: len(root)] == root for root in map(_parts, roots)
    )


def _not_for_a_cluster(run: SelfieRun, engines: Sequence[str]) -> Iterator[Violation]:
    if run.spec.artifacts.secret_ref is not None:
        # The operator never reads Secrets, and the services are shared: they have the release's access.
        yield Violation(
            "spec.artifacts.secretRef",
            "is not for a cluster, where one release has one access to its stores",
            "leave it out, and give the release the credentials",
        )
    if len(run.spec.hub_secrets) > 1:
        yield Violation(
            "spec.referenceModel.secretRef.name",
            "is not that of spec.model.secretRef, and one token fetches all sources of a run",
            "name one Secret whose token opens both",
        )
    if run.spec.generation.engine not in engines:
        yield Violation(
            "spec.generation.engine",
            f"{run.spec.generation.engine!r} is not offered by this release, which has {', '.join(engines)}",
            f"use one of those, or give the release runPods.{run.spec.generation.engine}",
        )


def _relocated(
    run: SelfieRun, sources_root: str, readable: Sequence[str], concerns: Callable[[str], bool]
) -> tuple[SelfieRun, list[Violation]]:
    found: list[Violation] = []

    def relocate(field: str, uri: str) -> str:
        if not concerns(field):
            return uri
        absolute = uri if "://" in uri else below(sources_root, uri)
        found.extend(_unreadable(field, absolute, uri, readable))
        return absolute

    return with_sources(run, relocate), found


def _unreadable(field: str, absolute: str, given: str, roots: Sequence[str]) -> list[Violation]:
    scheme = absolute.partition("://")[0]
    if scheme not in _SCHEMES:
        known = ", ".join(f"{name}://" for name in sorted(_SCHEMES))
        return [Violation(field, f"{given!r} cannot be read from", f"use a relative path, or one of {known}")]
    if "://" not in given and given.startswith("/"):
        return [Violation(field, f"{given!r} is a path of no machine", "write a URI, or a relative path")]
    if scheme == "file" or "://" not in given:
        return _outside(field, absolute, roots, given=given)
    return []


def _outside(field: str, uri: str, roots: Sequence[str], *, given: str | None = None) -> list[Violation]:
    if is_below(uri, roots):
        return []
    allowed = ", ".join(roots)
    return [
        Violation(field, f"{given or uri!r} is outside what this release may use", f"stay below {allowed}")
    ]


def _parts(uri: str) -> tuple[str, ...] | None:
    """Scheme and names on the way; None for a place that cannot be told, or that leads up."""
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return None
    names = (unquote(rest) if scheme == "file" else rest).rstrip("/").split("/")
    # A file's URI has no host, so its first name is empty; no other may be.
    inner = names[1:] if scheme == "file" else names
    is_plain = all(name not in {"", ".", ".."} and "\x00" not in name for name in inner)
    if not is_plain or (scheme == "file" and names[0] != ""):
        return None
    return (scheme, *names)
