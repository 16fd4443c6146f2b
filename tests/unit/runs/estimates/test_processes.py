"""Which processes a step holds: what the planner would start, and nothing that it would not."""

from selfie.runs.estimates.processes import Held, processes_of
from selfie.runs.steps import Step, steps_of

PART = {"heldout": 20, "evaluation": 10}


def test_every_step_has_its_processes(case_of):
    spec = case_of(counts=(10, 10), **PART).spec
    assert list(processes_of(spec)) == list(steps_of(spec))


def test_with_a_shared_accelerator_the_engine_goes_and_comes_again(case_of):
    found = processes_of(case_of(counts=(10, 10), gpu="shared", **PART).spec)
    assert found[Step(0, "serve")] == Held(("engine",), ("engine",))
    assert found[Step(0, "evaluate-samples")] == Held(("engine",), ())
    assert found[Step(0, "evaluate-heldout")] == Held(("scoring",), ("scoring",))
    assert found[Step(0, "evaluate-measures")] == Held(("scoring",), ())
    assert found[Step(1, "generate")] == Held(("engine",), ("engine",))


def test_with_an_accelerator_of_its_own_the_engine_stays_until_the_next_round(case_of):
    found = processes_of(case_of(counts=(10, 10), gpu="separate", **PART).spec)
    assert found[Step(0, "evaluate-heldout")] == Held(("engine", "scoring"), ())
    # After the last round nobody wants it.
    assert found[Step(2, "evaluate-heldout")] == Held(("scoring",), ())


def test_with_an_accelerator_of_their_own_scoring_workers_are_started_a_step_ahead(case_of):
    found = processes_of(case_of(counts=(10, 10), gpu="separate", **PART).spec)
    assert found[Step(0, "evaluate-samples")] == Held(("engine", "scoring"), ("scoring",))
    # Those that measured the seed's policy judge its samples too.
    assert found[Step(1, "generate")] == Held(("engine", "scoring"), ())
    assert found[Step(1, "score")] == Held(("scoring",), ())
    # What is published last is not known a step before.
    assert found[Step(1, "serve")].started == ("engine",)


def test_programs_are_processes_that_last_one_step(case_of):
    found = processes_of(case_of(**PART).spec)
    assert found[Step(0, "prepare")] == Held(("program",), ("program",))
    assert found[Step(1, "train")] == Held(("trainer",), ("trainer",))
    assert found[Step(1, "filter")] == Held((), ())
