"""Whether a job may be created: the controller looks for itself, and believes only what it finds.

Whoever creates Jobs can run as any account of the namespace. So a request counts for no more than a
hint that there is something to do. What is done follows from the SelfieRun: its specification, which
its user has written, and its status, which only the operator can write, and writes before it asks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from pydantic import JsonValue

from selfie.artifacts.programs import Attempt
from selfie.errors import NotFound, OutOfDate, PermissionDenied
from selfie.kube.frozen import Frozen
from selfie.kube.objects import Object, is_going, uid_of
from selfie.runs.evaluations import evaluations_of
from selfie.runs.lineage import added_rounds, pin, sources_of
from selfie.runs.load import run_from_object
from selfie.runs.names import run_at, run_mark
from selfie.runs.observed import ManifestSummary
from selfie.runs.programs import PROGRAM_OF, ProgramName, parameters_of
from selfie.runs.relocating import with_sources
from selfie.runs.resolving import resolved
from selfie.runs.spec import MethodFields, SelfieRun
from selfie.runs.status import status_from_object
from selfie.runs.steps import Step, request_id, step_at
from selfie.runs.violations import InvalidRun

CACHE_DIR = "/tmp/selfie"  # noqa: S108
"""Where a program in a pod keeps files on their way, whatever who asks for it would like."""


@dataclass(frozen=True)
class Asked:
    """A request for a job."""

    attempt: Attempt
    request_id: str
    program: ProgramName
    parameters: Mapping[str, JsonValue]


def require_place(attempt: Attempt, namespace: str | None) -> tuple[str, str]:
    """Namespace and name of the run that the attempt is for.

    `PermissionDenied` for another namespace than ``namespace``, which None leaves open;
    `InvalidInput` for a place that is no run's, or another run's.
    """
    found, name, mark = run_at(attempt.run_uri)
    if namespace is not None and found != namespace:
        raise PermissionDenied(
            f"{attempt.run_uri} is in the namespace {found}; this controller serves {namespace}"
        )
    if mark != run_mark(attempt.run_uid):
        raise OutOfDate(f"{attempt.run_uri} is not the place of the run with the UID {attempt.run_uid}")
    return found, name


def require_intent(asked: Asked, owner: Object | None) -> tuple[Object, Step]:
    """The run and the step that it is about to do; `OutOfDate` says what speaks against that."""
    attempt = asked.attempt
    if owner is None:
        raise NotFound(f"there is no SelfieRun for {attempt.run_uri}")
    for holds, problem in _objections(asked, owner):
        if holds:
            raise OutOfDate(f"attempt {attempt.number} at {attempt.step}: {problem}; look at the run again")
    step = step_at(attempt.step)
    if step is None or PROGRAM_OF.get(step.name) != asked.program:
        raise OutOfDate(f"program: {asked.program!r} is not what carries out {attempt.step!r}")
    if asked.request_id != request_id(uid_of(owner), step, attempt.number):
        raise OutOfDate("request_id: is not the one that this attempt is started under")
    return owner, step


def carried_out(owner: Object, frozen: Frozen, run_uri: str) -> SelfieRun:
    """The run as it is carried out now; `OutOfDate` where what was fixed at its start says otherwise."""
    try:
        present = run_from_object(owner)
    except InvalidRun as error:
        raise OutOfDate(f"spec: cannot be carried out: {error}") from error
    if frozen.run_uri.rstrip("/") != run_uri:
        raise OutOfDate(f"attempt.run_uri: the run keeps its artifacts at {frozen.run_uri}, not at {run_uri}")
    differing = _differing_method(frozen.run, present)
    if differing is not None:
        raise OutOfDate(f"spec.{differing}: is not what the run was started with")
    return frozen.of(present)


def required_parameters(
    run: SelfieRun, step: Step, attempt: Attempt, manifests: Mapping[str, ManifestSummary]
) -> dict[str, JsonValue]:
    """What the step's program must be told; `OutOfDate` where a step that it reads is not published."""
    added = added_rounds(run.spec, manifests)
    sources = sources_of(run.spec, step, evaluations_of(run.spec, manifests), added)
    inputs = pin(sources, manifests)
    missing = sorted(sources.keys() - inputs.keys())
    if missing:
        where = ", ".join(f"{role} ({sources[role].step})" for role in missing)
        raise OutOfDate(f"{step.path} reads what is not published: {where}")
    own: dict[str, JsonValue] = attempt.model_dump(mode="json", by_alias=True)
    return {**parameters_of(run, step, inputs), "attempt": own, "cacheDir": CACHE_DIR}


def require_equal(asked: Asked, required: Mapping[str, JsonValue]) -> None:
    """`OutOfDate`, which names the first field that differs from what the run calls for."""
    for name in sorted({*asked.parameters, *required} - {"attempt", "cacheDir"}):
        if name not in asked.parameters or name not in required:
            raise OutOfDate(f"parameters_json.{name}: is not among what the run calls for, or is missing")
        if asked.parameters[name] != required[name]:
            raise OutOfDate(
                f"parameters_json.{name}: is {asked.parameters[name]!r}, and the run calls for "
                f"{required[name]!r}"
            )


def _objections(asked: Asked, owner: Object) -> list[tuple[bool, str]]:
    spec = owner.get("spec") or {}
    status = status_from_object({**(owner.get("status") or {}), "conditions": _own(owner)})
    attempt = asked.attempt
    return [
        (
            uid_of(owner) != attempt.run_uid,
            f"run_uid: the SelfieRun of this name has the UID {uid_of(owner)}",
        ),
        (is_going(owner), "the run is being deleted"),
        (spec.get("cancel") is True, "the run was cancelled"),
        (spec.get("suspend") is True, "the run is suspended"),
        (status.is_terminal, "the run has ended"),
        (
            (status.step, status.attempt) != (attempt.step, attempt.number),
            f"the run is at attempt {status.attempt} at {status.step}",
        ),
    ]


def _own(owner: Object) -> list[Object]:
    # Others may write conditions of their own, which the typed status does not know.
    found = (owner.get("status") or {}).get("conditions") or ()
    return [entry for entry in found if entry.get("type") in {"Complete", "Failed"}]


def _differing_method(fixed: SelfieRun, present: SelfieRun) -> str | None:
    """The first field of the method that is another one now; rounds may have been added at the end."""
    before, now = resolved(fixed.spec), resolved(_placed_as(fixed, present).spec)
    rounds = len(before.rounds)
    if now.rounds[:rounds] != before.rounds:
        return "rounds"
    names = [name for name in MethodFields.model_fields if name != "rounds"]
    return next((name for name in names if getattr(now, name) != getattr(before, name)), None)


def _placed_as(fixed: SelfieRun, present: SelfieRun) -> SelfieRun:
    """The run with its relative sources where they were placed at the start: all below one folder."""
    places: dict[str, str] = {}
    with_sources(fixed, places.setdefault)
    folders: set[str] = set()

    def place(field: str, uri: str) -> str:
        found = places.get(field, "")
        for written in (uri, quote(uri)):
            folder = found.removesuffix(f"/{written}")
            if "://" not in uri and "://" in folder and folder != found and folders <= {folder}:
                folders.add(folder)
                return found
        return uri

    return with_sources(present, place)
