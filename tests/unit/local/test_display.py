"""What a run says on the terminal, and in a file where there is no terminal."""

import io

import pytest
from rich.console import Console

from selfie.local.display import RunDisplay, clock_of, told
from selfie.runs.observed import ManifestSummary, Observed, WorkObserved
from selfie.runs.status import RunStatus
from selfie.runs.steps import Step


def figures(*, counts: dict[str, int] | None = None, **measures: float) -> ManifestSummary:
    return ManifestSummary(sha256="a", counts=counts or {}, measures=measures, seconds=12.3)


@pytest.mark.parametrize(
    ("path", "manifest", "line"),
    [
        (
            "prepare",
            figures(counts={"seed": 96, "heldout": 128}),
            "96 seed pairs, 128 held-out pairs",
        ),
        (
            "rounds/00/seed",
            figures(loss_first=0.693, loss_last=0.5, train_accuracy=0.8),
            "loss 0.693 → 0.500, accuracy 80%",
        ),
        (
            "rounds/01/train",
            figures(loss_first=0.693, loss_last=0.5, train_accuracy=0.8, z_ones=3),
            "loss 0.693 → 0.500, accuracy 80%, 3 pairs with z = 1",
        ),
        (
            "rounds/01/generate",
            figures(counts={"samples": 256}, mean_tokens=41.6, finished_share=0.9),
            "256 responses, 42 tokens each, 90% finished",
        ),
        (
            "rounds/01/score",
            figures(counts={"pairs": 60, "ties": 4}, margin_q50=0.1234),
            "60 pairs, median margin 0.123, 4 ties",
        ),
        (
            "rounds/01/filter",
            figures(counts={"kept": 50, "noisy": 5}, kept_share=0.83),
            "50 pairs kept (83%), 5 suspected",
        ),
        (
            "rounds/01/evaluate-samples",
            figures(counts={"samples": 64}, finished_share=0.95),
            "64 responses, 95% finished",
        ),
        (
            "rounds/00/evaluator",
            figures(counts={"pairs": 900, "heldout": 128}, heldout_accuracy=0.63, heldout_longer=0.6),
            "accuracy 63.0%, prefer the longer 60.0%, of 128 held-out pairs; fitted on 900",
        ),
        (
            "rounds/01/evaluate-ratings",
            figures(counts={"samples": 64}, mean_rating=0.1234),
            "64 responses, mean rating +0.123",
        ),
        (
            "rounds/01/evaluate-heldout",
            figures(accuracy=0.7, accuracy_mean=0.75, n=128),
            "accuracy 70.0%, 75.0% length-normalised, of 128 pairs",
        ),
        (
            "rounds/01/evaluate-measures",
            figures(divergence=0.0123),
            "0.0123 nats a token from the initial model",
        ),
        ("rounds/01/publish", figures(), ""),
        ("rounds/01/score", figures(), ""),
    ],
)
def test_a_step_is_told_by_its_own_figures_and_by_none_that_it_lacks(path, manifest, line):
    assert told(path, manifest) == line


def show(*looks: tuple[RunStatus, Observed]) -> list[str]:
    output = io.StringIO()
    with RunDisplay(Console(file=output, width=200)) as display:
        for status, observed in looks:
            display.watch(status, observed)
    return output.getvalue().splitlines()


def test_without_a_terminal_every_step_has_one_line_however_often_it_is_looked_at():
    done = {"prepare": figures(), "rounds/00/seed": figures()}
    step = Step(0, "publish")
    status = RunStatus(step=step.path, attempt=1)
    work = WorkObserved(step, 1, "running", done=1, total=3, message="copying [files]")
    lines = show(
        (RunStatus(), Observed()),
        (status, Observed(manifests={"prepare": done["prepare"]})),
        *[(status, Observed(manifests=done, work=work))] * 3,
    )
    assert len(lines) == 2
    assert "prepare" in lines[0]
    assert "12.3 s" in lines[0]
    assert "round 0 · seed" in lines[1]


def test_a_run_that_goes_on_says_so_and_does_not_repeat_what_was_done():
    lines = show((RunStatus(), Observed(manifests={"prepare": figures(), "rounds/00/seed": figures()})))
    assert lines == ["Going on after 2 steps that are done."]


@pytest.mark.parametrize(
    ("seconds", "told_as"),
    [(0, "00:00"), (61.9, "01:01"), (3599, "59:59"), (3661, "1:01:01"), (90000, "25:00:00")],
)
def test_the_clock_goes_on_after_an_hour(seconds: float, told_as: str):
    assert clock_of(seconds) == told_as
