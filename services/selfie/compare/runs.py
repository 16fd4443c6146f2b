"""Reads of each run what is compared: every round that has judged its held-out pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from selfie.artifacts.manifests import read_manifest
from selfie.artifacts.store import Store
from selfie.errors import InvalidInput
from selfie.method.statistics import Proportion
from selfie.report.agreements import Agreement, agreement_of
from selfie.report.audits import audit_labels, longer_share
from selfie.report.heldout import HeldoutPairs
from selfie.report.ratings import Rated, rate
from selfie.report.reading import kept_of, read_baselines, read_heldout, rows_of
from selfie.runs.evaluations import finite
from selfie.runs.spec import RunSpec, SelfieRun
from selfie.runs.status import RunStatus, derived_reason
from selfie.runs.steps import EVALUATOR, Step


@dataclass(frozen=True, eq=False)
class JudgedRound:
    """A round with its judge's pairs, its rated responses, and the digest of the weights that judged.

    Of the labels that it learned from: the share that its evaluator agrees with, and that of the longer.
    """

    number: int
    heldout: HeldoutPairs
    weights: str
    responses: Rated
    measures: Mapping[str, float]
    labels_right: Proportion | None = None
    labels_longer: Proportion | None = None


@dataclass(frozen=True, eq=False)
class JudgedRun:
    """A run as far as it is; it has at least one judged round. ``name`` is unlike that of every other."""

    name: str
    uri: str
    spec: RunSpec
    state: str
    best_round: int | None
    rounds: tuple[JudgedRound, ...]
    baselines: Mapping[str, Rated]
    agreement: Agreement | None = None

    @property
    def evaluator(self) -> str:
        """Who rates its responses."""
        return self.spec.evaluation.evaluator

    def is_rated_as(self, other: "JudgedRun") -> bool:
        """Whether one evaluator rates the responses of both: one that was fitted is known by its file."""
        mine, theirs = (run.agreement.digest if run.agreement else "" for run in (self, other))
        return (self.evaluator, mine) == (other.evaluator, theirs)

    def round(self, number: int) -> JudgedRound | None:
        """The round of that number, if it is judged."""
        return next((each for each in self.rounds if each.number == number), None)


def read_judged_run(store: Store, run: SelfieRun, status: RunStatus) -> JudgedRun:
    """What a run has published; `InvalidInput` where it has no held-out pairs, or has judged none yet."""
    seed, name = run.spec.seed, run.metadata.name
    if seed is None or seed.heldout is None:
        raise InvalidInput(
            "RUN", f"{name} has no held-out pairs", "compare runs whose spec.seed.heldout is set"
        )
    numbers = range(len(run.spec.rounds) + 1)
    rounds = [_round(store, number, run.spec.evaluation.evaluator) for number in numbers]
    judged = tuple(each for each in rounds if each)
    if not judged:
        problem = f"{name} has not judged its held-out pairs yet"
        raise InvalidInput("RUN", problem, "compare it when its round 0 is evaluated")
    return JudgedRun(
        name=name,
        uri=store.uri,
        spec=run.spec,
        state=derived_reason(status),
        best_round=status.best.round if status.best else None,
        rounds=judged,
        baselines=read_baselines(store, run.spec.evaluation.evaluator),
        agreement=agreement_of(read_manifest(store, EVALUATOR.path)),
    )


def with_names_apart(runs: Sequence[JudgedRun]) -> tuple[JudgedRun, ...]:
    """The runs, those of one name called by their place; `InvalidInput` for one that is named twice."""
    names, uris = ([getattr(run, field) for run in runs] for field in ("name", "uri"))
    for uri in uris:
        if uris.count(uri) > 1:
            raise InvalidInput("RUN", f"{uri} is named twice", "name each run once")
    return tuple(
        run if names.count(run.name) == 1 else replace(run, name=_with_folder(run.uri)) for run in runs
    )


def _with_folder(uri: str) -> str:
    return uri.partition("://")[2].strip("/")


def _round(store: Store, number: int, evaluator: str) -> JudgedRound | None:
    judged = read_manifest(store, Step(number, "evaluate-heldout").path)
    heldout = read_heldout(store, judged)
    if judged is None or heldout is None:
        return None
    measured, rated = (
        read_manifest(store, Step(number, name).path) for name in ("evaluate-measures", "evaluate-ratings")
    )
    kept = kept_of(rows_of(store, read_manifest(store, Step(number, "filter").path), "pairs"))
    audit = audit_labels(evaluator, kept, None)
    return JudgedRound(
        number=number,
        heldout=heldout,
        weights=judged.inputs.get("policy", ""),
        responses=rate(evaluator, rows_of(store, measured, "responses"), rows_of(store, rated, "ratings")),
        measures=finite(measured.measures) if measured else {},
        labels_right=audit.labels if audit else None,
        labels_longer=longer_share(kept),
    )
