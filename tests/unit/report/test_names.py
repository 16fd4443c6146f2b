"""Every figure that the report and the terminal read is one that its publisher writes under that name."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from selfie.artifacts.rows import PAIR_SCHEMA, SAMPLE_SCHEMA
from selfie.filtering import rules
from selfie.generation.samples import tally
from selfie.local.display import told
from selfie.method.statistics import wilson_interval
from selfie.report.comparisons import adjusted, compare
from selfie.report.facts import RoundFacts, RunFacts, StepFacts
from selfie.report.heldout import READINGS, heldout_of, judge_facts
from selfie.report.judge_rows import HELDOUT, details
from selfie.report.rows import RESPONSES, SELF_MADE, Row
from selfie.report.tables import tables_of
from selfie.runs.observed import ManifestSummary
from selfie.scoring.preference_measures import PreferenceTally
from selfie.scoring.rewards import RewardRule
from selfie.scoring.sample_measures import SampleTally

WINS = ("wins", "length-controlled wins")
Figures = tuple[Mapping[str, int], Mapping[str, float]]


def generated(response_of) -> Figures:
    row = {name: response_of("a", "Yes.")[name] for name in SAMPLE_SCHEMA.names if name != "source"}
    found = tally(pa.Table.from_pylist([row], schema=SAMPLE_SCHEMA))
    return found.counts, found.measures


def sampled(response_of, pair_of) -> Figures:
    found = SampleTally()
    found.add([response_of("a", "Yes.")], pair_of("a"))
    return found.counts(), found.measures()


def filtered() -> Figures:
    pair = rules.Candidate(
        id="a",
        chosen_text="yes",
        rejected_text="no",
        chosen_cut=False,
        rejected_cut=False,
        margin=1.0,
        extrapolated_margin=1.0,
        tie_band=0.0,
    )
    labels = rules.label_pairs([pair], rules.Rules())
    return rules.counts(labels), rules.measures(labels)


def judged(response_of, pair_of) -> Figures:
    found = PreferenceTally(RewardRule())
    # Both halves and both subsets have pairs, so that no accuracy is left out.
    for index in range(32):
        tokens = {"chosen_tokens": 2, "rejected_tokens": 2 + 4 * (index % 2)}
        pair = pair_of(str(index), **tokens)
        found.add([response_of("a", "Yes."), response_of("a", "No.")], pair)
    return found.counts(), found.measures()


@pytest.fixture
def facts(response_of, pair_of) -> RoundFacts:
    figures = {
        "generate": generated(response_of),
        "score": sampled(response_of, pair_of),
        "filter": filtered(),
        "evaluate-samples": generated(response_of),
        "evaluate-heldout": judged(response_of, pair_of),
        "evaluate-measures": sampled(response_of, pair_of),
    }
    steps = {name: StepFacts(name, 1.0, *found) for name, found in figures.items()}
    return RoundFacts(number=1, steps=steps, margins=np.zeros(0))


@pytest.fixture
def run_facts():
    def make(*rounds: RoundFacts) -> RunFacts:
        return RunFacts(
            name="toy",
            state="",
            message="",
            best_round=None,
            spec_yaml="",
            evaluator="none",
            refinement="none",
            rounds=rounds,
            seconds=0.0,
        )

    return make


def missing(rows: tuple[Row, ...], facts: RoundFacts) -> set[str]:
    return {row.label for row in rows if "–" in row.cell(facts)}


def test_the_table_of_held_out_pairs_has_every_figure_but_those_made_of_rows(facts):
    from_rows = {"accuracy, summed judge", "against the seed, summed", "against the seed, normalised"}
    assert missing(HELDOUT, facts) == from_rows


def test_the_table_of_responses_has_every_figure_but_the_evaluators(facts):
    rated = {"evaluator's mean", "evaluator, against the seed"}
    wins = {f"{kind} against {whom}" for kind in WINS for whom in ("the seed", "π_init")}
    assert missing(RESPONSES, facts) == rated | wins


def test_the_table_of_self_made_pairs_has_every_figure_but_the_trainers(facts):
    trained = {
        "taken to be noisy in training",
        "training loss, first → last",
        "training accuracy",
        "scorer against trainer",
    }
    labelled = replace(facts, longer=wilson_interval(3, 4))
    assert missing(SELF_MADE, labelled) == trained


@pytest.mark.parametrize("reading", READINGS)
def test_the_tables_in_detail_have_a_figure_in_every_row(facts, pair_of, reading):
    # Both halves and both subsets have pairs.
    rows = [pair_of(str(index), rejected_tokens=2 + 4 * (index % 2)) for index in range(32)]
    heldout = heldout_of(pa.Table.from_pylist(rows, schema=PAIR_SCHEMA))
    (comparisons,) = adjusted([compare(heldout, heldout)])
    judged = replace(facts, heldout=heldout, judge=judge_facts(heldout), comparisons=comparisons)
    assert not missing(details(reading), judged)


def test_every_count_and_measure_of_a_manifest_has_a_row_under_its_own_name(facts, run_facts):
    (table,) = [found for found in tables_of(run_facts(facts)) if found.title == "Every published figure"]
    published = {
        f"{step.name} · {name}" for step in facts.steps.values() for name in (*step.counts, *step.measures)
    }
    assert published
    assert {label for label, _, _ in table.rows} == published
    assert not [label for label, _, cells in table.rows if cells == ["–"]]


@pytest.mark.parametrize(
    "step", ["generate", "score", "filter", "evaluate-samples", "evaluate-heldout", "evaluate-measures"]
)
def test_the_terminal_has_something_to_say_of_what_each_service_publishes(facts, step):
    found: Any = facts.steps[step]
    summary = ManifestSummary(sha256="a", counts=found.counts, measures=found.measures)
    assert told(f"rounds/01/{step}", summary)
