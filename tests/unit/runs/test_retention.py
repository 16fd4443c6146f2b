"""What may go: never what a step reads later, never the best round, and what may go once may always go."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfie.runs.evaluations import evaluations_of
from selfie.runs.lineage import Source, added_rounds, sources_of
from selfie.runs.load import parse_run
from selfie.runs.observed import ManifestSummary
from selfie.runs.retention import Dispensable, dispensable
from selfie.runs.spec import RunSpec
from selfie.runs.steps import PREPARE, Step, steps_of

HEAD = """
apiVersion: selfie.dev/v1alpha1
kind: SelfieRun
metadata: {name: toy}
spec:
  model: {uri: hf://toy/model}
"""
unhurried = settings(max_examples=60, deadline=None)
WEIGHTS = {"prepare", "seed", "train", "publish"}


def spec_of(
    *,
    rounds: int = 3,
    keep: int = 1,
    breach: str = "report",
    reference: str = "initial",
    initial: str = "previous",
    seed: bool = True,
) -> RunSpec:
    lines = [
        "seed: {dataset: s, heldout: h}" if seed else "referenceModel: {uri: hf://toy/base}",
        f"rounds: [{', '.join(['{prompts: {dataset: p}}'] * rounds)}]",
        f"scoring: {{reference: {reference}}}",
        f"training: {{initialPolicy: {initial}}}",
        f"retention: {{checkpoints: {keep}}}",
    ]
    if seed:
        lines.append(f"evaluation: {{gates: {{onBreach: {breach}, maxAccuracyDrop: '0.1'}}}}")
    return parse_run(HEAD + "".join(f"  {line}\n" for line in lines)).spec


@dataclass(repr=False)
class Look:
    """The run at one moment: what is published, and what may go."""

    spec: RunSpec
    manifests: dict[str, ManifestSummary]
    ended: bool = False

    @cached_property
    def evaluations(self):
        return evaluations_of(self.spec, self.manifests)

    @property
    def best(self) -> int | None:
        return self.evaluations[-1].best if self.evaluations else None

    @cached_property
    def gone(self) -> set[Source]:
        return {Source(entry.step, entry.group) for entry in self.dispensable}

    @property
    def dispensable(self) -> tuple[Dispensable, ...]:
        return dispensable(self.spec, self.manifests, self.evaluations, best=self.best, ended=self.ended)

    @property
    def published(self) -> list[int]:
        return [
            number
            for number in range(len(self.spec.rounds) + 1)
            if f"rounds/{number:02d}/publish" in self.manifests
        ]

    def after(self, step: Step, accuracy: float) -> "Look":
        groups = {"checkpoint"} if step.name in WEIGHTS else set()
        if step == PREPARE:
            groups = {"model", *(f"prompts-round-{n:02d}" for n in range(1, len(self.spec.rounds) + 1))}
        measures = {"accuracy": accuracy} if step.name == "evaluate-heldout" else {}
        summary = ManifestSummary(sha256=step.path, measures=measures, groups=frozenset(groups))
        return Look(self.spec, {**self.manifests, step.path: summary})

    def next_step(self) -> Step | None:
        steps = steps_of(self.spec, added_rounds(self.spec, self.manifests))
        return next((step for step in steps if step.path not in self.manifests), None)

    def reads(self, step: Step) -> set[Source]:
        added = added_rounds(self.spec, self.manifests)
        return set(sources_of(self.spec, step, self.evaluations, added).values())


def history(
    spec: RunSpec, accuracies: list[float], *, grown: tuple[int, RunSpec] | None = None
) -> list[Look]:
    """The run from its first moment to its end; ``grown``: from how many manifests on it has another spec."""
    looks = [Look(spec, {})]
    while (step := looks[-1].next_step()) is not None:
        looks.append(looks[-1].after(step, accuracies[step.round]))
        if grown and len(looks) == grown[0]:
            looks.append(Look(grown[1], looks[-1].manifests))
    return [*looks, Look(looks[-1].spec, looks[-1].manifests, ended=True)]


@st.composite
def histories(draw: st.DrawFn) -> list[Look]:
    seed = draw(st.booleans())
    choices = {
        "keep": draw(st.integers(1, 3)),
        "breach": draw(st.sampled_from(["report", "stop", "fallBack"])),
        "reference": draw(st.sampled_from(["initial", "previous", "none"])),
        "initial": draw(st.sampled_from(["previous", "initial"])),
        "seed": seed,
    }
    rounds, more = draw(st.integers(1, 5)), draw(st.integers(0, 2))
    accuracies = draw(
        st.lists(
            st.sampled_from([0.3, 0.5, 0.55, 0.6, 0.8]),
            min_size=rounds + more + 1,
            max_size=rounds + more + 1,
        )
    )
    spec, longer = spec_of(rounds=rounds, **choices), spec_of(rounds=rounds + more, **choices)
    moment = draw(st.integers(2, len(steps_of(spec)) + 1) | st.just(len(steps_of(spec)) + 1))
    return history(spec, accuracies, grown=(moment, longer) if more else None)


@unhurried
@given(histories(), st.sets(st.integers(0, 60)))
def test_nothing_that_a_step_still_reads_has_gone(looks, passed_over):
    gone: set[Source] = set()
    for moment, look in enumerate(looks):
        step = look.next_step()
        assert step is None or not gone & look.reads(step)
        if moment not in passed_over:
            gone |= look.gone


@unhurried
@given(histories())
def test_neither_the_best_round_nor_the_newest_nor_what_was_prepared_ever_goes(looks):
    for look in looks:
        kept = set(look.published[-look.spec.retention.checkpoints :]) | {look.best}
        assert (
            not {Source(f"rounds/{n:02d}/publish", "checkpoint") for n in kept if n is not None} & look.gone
        )
        assert all(source.group == "checkpoint" and source.step != "prepare" for source in look.gone)


@unhurried
@given(histories(), st.integers(0, 5))
def test_the_round_that_people_were_told_is_the_best_never_goes_nor_does_the_measured_one(looks, told):
    for look in looks:
        found = dispensable(look.spec, look.manifests, look.evaluations, best=told, ended=look.ended)
        steps = {entry.step for entry in found}
        assert not steps & {f"rounds/{n:02d}/publish" for n in (told, look.best) if n is not None}


@unhurried
@given(histories())
def test_what_may_go_once_may_always_go(looks):
    for earlier, later in pairwise(looks):
        assert earlier.gone <= later.gone


@unhurried
@given(histories())
def test_the_answer_depends_on_the_moment_alone(looks):
    for look in looks:
        assert (
            look.dispensable
            == Look(look.spec, dict(reversed(look.manifests.items())), look.ended).dispensable
        )


@unhurried
@given(histories())
def test_a_trained_policy_goes_as_soon_as_it_is_published_and_not_before(looks):
    for look in looks:
        trained = {source.step for source in look.gone if not source.step.endswith("/publish")}
        steps = {number: f"rounds/{number:02d}/{'train' if number else 'seed'}" for number in look.published}
        assert trained == {step for step in steps.values() if step in look.manifests}


def published_that_go(look: Look) -> list[int]:
    return [int(entry.step.split("/")[1]) for entry in look.dispensable if entry.step.endswith("/publish")]


@pytest.mark.parametrize(
    ("spec", "accuracies", "going"),
    [
        pytest.param(spec_of(keep=1), [0.8, 0.7, 0.7, 0.7], [1, 2], id="the best is the first"),
        pytest.param(spec_of(keep=1), [0.5, 0.6, 0.7, 0.8], [0, 1, 2], id="the best is the newest"),
        pytest.param(spec_of(keep=2), [0.5, 0.8, 0.7, 0.7], [0], id="two are kept beside the best"),
        pytest.param(spec_of(keep=4), [0.5, 0.8, 0.7, 0.7], [], id="as many are kept as there are"),
        pytest.param(spec_of(keep=1, seed=False), [0] * 4, [0, 1, 2], id="no round is measured"),
        pytest.param(
            spec_of(keep=1, reference="previous"),
            [0.5, 0.6, 0.7, 0.8],
            [0, 1, 2],
            id="judged by the one before",
        ),
    ],
)
def test_of_a_run_that_has_ended_only_the_best_and_the_newest_stay(spec, accuracies, going):
    assert published_that_go(history(spec, accuracies)[-1]) == going


@pytest.mark.parametrize(
    ("spec", "accuracies", "until", "going"),
    [
        pytest.param(
            spec_of(keep=1), [0.8, 0.7, 0.7, 0.7], "rounds/02/publish", [1], id="the policy before the newest"
        ),
        pytest.param(
            spec_of(keep=1, reference="previous"),
            [0.8, 0.7, 0.7, 0.7],
            "rounds/02/publish",
            [],
            id="a policy that the next round is judged against",
        ),
        pytest.param(
            spec_of(keep=1, breach="fallBack", reference="previous"),
            [0.5, 0.6, 0.3, 0.3],
            "rounds/02/evaluate-heldout",
            [],
            id="what the round that is fallen back to is judged against",
        ),
        pytest.param(
            spec_of(keep=1, breach="fallBack"),
            [0.5, 0.6, 0.3, 0.3],
            "rounds/02/evaluate-heldout",
            [0],
            id="a round that can no longer be fallen back to",
        ),
        pytest.param(
            spec_of(keep=1, breach="fallBack"),
            [float("nan")] * 4,
            "rounds/02/publish",
            [1],
            id="while no round is the best, the first is fallen back to",
        ),
    ],
)
def test_what_a_step_may_still_read_stays(spec, accuracies, until, going):
    look = next(look for look in history(spec, accuracies) if until in look.manifests)
    assert published_that_go(look) == going


def test_a_reason_says_what_the_checkpoint_is_not():
    last = history(spec_of(keep=2), [0.8, 0.7, 0.7, 0.7])[-1]
    reasons = {entry.step: entry.reason for entry in last.dispensable}
    assert reasons["rounds/01/publish"] == (
        "round 1 is not the best, is not among the newest 2, and no step that is left reads it"
    )
    assert reasons["rounds/03/train"].startswith("rounds/03/publish has taken it over")
