"""The report's plots, as PNG."""

import io
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from selfie.report.facts import RoundFacts, RunFacts

BLUE, ORANGE, GREEN, GREY = "#2f6fb0", "#d9822b", "#3c8c5a", "#8a8f98"


class Draw(Protocol):
    """Draws something of a run."""

    def __call__(self, axes: Axes, run: RunFacts) -> None: ...


def draw_all(run: RunFacts) -> dict[str, bytes]:
    """PNG bytes by name, for the plots that there are numbers for."""
    drawn = {}
    for name, (title, draw, applies) in FIGURES.items():
        if applies(run):
            drawn[name] = png(title, partial(draw, run=run))
    return drawn


def png(title: str, draw: Callable[[Axes], None]) -> bytes:
    """A plot in the look of all of them; the same numbers give the same bytes."""
    figure = Figure(figsize=(6.4, 3.6), dpi=130, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e6e8eb")
    axes.set_axisbelow(True)
    draw(axes)
    buffer = io.BytesIO()
    # Without these two fields there is nothing in it but the numbers.
    figure.savefig(buffer, format="png", metadata={"Software": None, "Date": None})
    return buffer.getvalue()


def _labels(rounds: Sequence[RoundFacts]) -> list[str]:
    return ["seed" if facts.number == 0 else f"round {facts.number}" for facts in rounds]


def _line(axes: Axes, values: Sequence[float | None], *, color: str, label: str) -> None:
    known = [(place, value) for place, value in enumerate(values) if value is not None]
    axes.plot(
        [place for place, _ in known], [value for _, value in known], marker="o", color=color, label=label
    )


def _values(rounds: Sequence[RoundFacts], name: str) -> list[float | None]:
    return [facts.measure("evaluate-measures", name) for facts in rounds]


def _rounds_axis(axes: Axes, rounds: Sequence[RoundFacts]) -> None:
    axes.set_xticks(range(len(rounds)), _labels(rounds))
    axes.set_xlim(-0.4, len(rounds) - 0.6)


def _accuracy(axes: Axes, run: RunFacts) -> None:
    rounds = [facts for facts in run.rounds if facts.measure("evaluate-heldout", "accuracy") is not None]
    judges = (("accuracy_sum", "summed", BLUE, -0.06), ("accuracy_mean", "length-normalised", ORANGE, 0.06))
    for name, label, color, shift in judges:
        names = (name, f"{name}_low", f"{name}_high")
        values = np.array(
            [[facts.measure("evaluate-heldout", each) for each in names] for facts in rounds], dtype=float
        )
        if np.isnan(values).all():
            continue
        errors = np.abs(values[:, 1:] - values[:, :1]).T
        places = np.arange(len(rounds)) + shift
        axes.errorbar(places, values[:, 0], yerr=errors, fmt="o-", color=color, capsize=3, label=label)
    first = rounds[0]
    lines = (
        (0.5, "chance", ":"),
        (first.measure("evaluate-heldout", "accuracy_longer"), "prefer the longer", "--"),
        (
            first.measure("evaluate-heldout", "accuracy_reference_mean"),
            "π_init's own likelihood per token",
            "-.",
        ),
    )
    for height, label, style in lines:
        if height is not None:
            axes.axhline(height, color=GREY, linestyle=style, linewidth=1, label=label)
    _rounds_axis(axes, rounds)
    axes.set_ylabel("accuracy on held-out pairs")
    axes.legend(fontsize=7.5, frameon=False, loc="best")


def _margins(axes: Axes, run: RunFacts) -> None:
    rounds = [facts for facts in run.rounds if facts.margins.size]
    low = min(float(np.quantile(facts.margins, 0.01)) for facts in rounds)
    high = max(float(np.quantile(facts.margins, 0.99)) for facts in rounds)
    bins = np.linspace(min(low, 0.0), max(high, low + 1e-9), 30).tolist()
    for facts, color in zip(rounds, _colors(len(rounds)), strict=True):
        axes.hist(facts.margins, bins=bins, alpha=0.55, color=color, label=f"round {facts.number}")
    axes.set_xlabel("judge's margin of kept self-made pairs")
    axes.set_ylabel("pairs")
    axes.legend(fontsize=8, frameon=False)


def _behaviour(axes: Axes, run: RunFacts) -> None:
    rounds = [facts for facts in run.rounds if facts.measure("evaluate-measures", "mean_tokens") is not None]
    _line(axes, _values(rounds, "mean_tokens"), color=BLUE, label="mean length, tokens (left)")
    axes.set_ylim(bottom=0)
    axes.set_ylabel("tokens")
    other = axes.twinx()
    _line(other, _values(rounds, "finished_share"), color=GREEN, label="finished share (right)")
    other.set_ylim(0, 1.05)
    other.spines[["top"]].set_visible(False)
    _rounds_axis(axes, rounds)
    handles = [*axes.get_lines(), *other.get_lines()]
    axes.legend(
        handles, [str(handle.get_label()) for handle in handles], fontsize=8, frameon=False, loc="lower left"
    )


def _divergence(axes: Axes, run: RunFacts) -> None:
    rounds = [facts for facts in run.rounds if facts.measure("evaluate-measures", "divergence") is not None]
    _line(axes, _values(rounds, "divergence"), color=BLUE, label="")
    _rounds_axis(axes, rounds)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("nats a token")


def _quality(axes: Axes, run: RunFacts) -> None:
    rounds = [facts for facts in run.rounds if facts.quality is not None]
    means = [facts.quality.mean for facts in rounds if facts.quality]
    values = np.array([mean.value for mean in means])
    errors = np.array([[mean.value - mean.low, mean.high - mean.value] for mean in means]).T
    axes.errorbar(range(len(rounds)), values, yerr=errors, fmt="o-", color=GREEN, capsize=3)
    _rounds_axis(axes, rounds)
    axes.set_ylabel(f"{run.evaluator} of responses")


def _colors(count: int) -> list[str]:
    return [
        mpl.colors.to_hex(color) for color in mpl.colormaps["viridis"](np.linspace(0.15, 0.8, max(count, 1)))
    ]


def _has(step: str, name: str) -> Callable[[RunFacts], bool]:
    return lambda run: any(facts.measure(step, name) is not None for facts in run.rounds)


FIGURES: dict[str, tuple[str, Draw, Callable[[RunFacts], bool]]] = {
    "accuracy": ("Does the judge agree with people?", _accuracy, _has("evaluate-heldout", "accuracy")),
    "quality": (
        "Do its responses get better?",
        _quality,
        lambda run: any(facts.quality for facts in run.rounds),
    ),
    "behaviour": ("Length and finished responses", _behaviour, _has("evaluate-measures", "mean_tokens")),
    "divergence": ("Divergence from π_init (exact)", _divergence, _has("evaluate-measures", "divergence")),
    "margins": (
        "How sure is the judge of its own pairs?",
        _margins,
        lambda run: any(facts.margins.size for facts in run.rounds),
    ),
}
"""Title, drawing and condition of each plot."""
