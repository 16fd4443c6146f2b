"""The comparison as one HTML file in the look of a run's report."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from selfie.compare.shape import ComparedRuns, ContrastEntry
from selfie.compare.tables import tables_of
from selfie.compare.wording import place
from selfie.report.figures import BLUE, GREY, ORANGE, png
from selfie.report.heldout import READINGS
from selfie.report.page import render_page

MOST_DRAWN = 24
"""Rounds in the plot; with more, their names could not be read."""


def write_page(found: ComparedRuns, file: Path) -> None:
    """Writes the page, which needs nothing beside it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(render(found), encoding="utf-8")


def render(found: ComparedRuns) -> str:
    """The page's HTML; all text from the runs is escaped."""
    images = {}
    names = _names(found.contrasts)
    if 0 < len(names) <= MOST_DRAWN:
        against = place(found.baseline.run, found.baseline.round)
        title = f"Accuracy against {against}, in points"
        images[title] = png(title, lambda axes: _intervals(axes, found.contrasts))
    return render_page("compare.html.j2", images, found=found, tables=tables_of(found))


def _names(contrasts: Sequence[ContrastEntry]) -> list[str]:
    return list(dict.fromkeys(place(each.run, each.round) for each in contrasts))


def _intervals(axes: Axes, contrasts: Sequence[ContrastEntry]) -> None:
    names = _names(contrasts)
    for reading, color, shift in zip(READINGS, (BLUE, ORANGE), (-0.12, 0.12), strict=True):
        found = [each.parts["all"].accuracy for each in contrasts if each.reading == reading]
        values = 100 * np.array([[each.value, each.low, each.high] for each in found])
        places = np.arange(len(found)) + shift
        errors = np.abs(values[:, 1:] - values[:, :1]).T
        axes.errorbar(values[:, 0], places, xerr=errors, fmt="o", color=color, capsize=3, label=reading)
    axes.axvline(0.0, color=GREY, linewidth=1)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.legend(fontsize=7.5, frameon=False, loc="best")
