"""Renders the facts as one HTML file that needs nothing beside it, and the plots as PNG files."""

import base64
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from selfie import __version__
from selfie.report.facts import RunFacts
from selfie.report.figures import FIGURES, draw_all
from selfie.report.summary import best_round, summarise
from selfie.report.tables import tables_of

_ENVIRONMENT = Environment(
    loader=PackageLoader("selfie.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def write_report(run: RunFacts, directory: Path) -> Path:
    """Writes ``index.html`` and one PNG for each plot; returns the page's path."""
    directory.mkdir(parents=True, exist_ok=True)
    plots = draw_all(run)
    for name, data in plots.items():
        directory.joinpath(f"{name}.png").write_bytes(data)
    page = directory / "index.html"
    page.write_text(render(run, plots), encoding="utf-8")
    return page


def render(run: RunFacts, plots: dict[str, bytes]) -> str:
    """The page's HTML; all text from the run is escaped."""
    images = {FIGURES[name][0]: data for name, data in plots.items()}
    return render_page(
        "report.html.j2", images, run=run, summary=summarise(run), best=best_round(run), tables=tables_of(run)
    )


def render_page(template: str, images: Mapping[str, bytes], **values: object) -> str:
    """A page of one of our templates, with PNG images by title inside it; what is text is escaped."""
    inside = [
        (title, f"data:image/png;base64,{base64.b64encode(data).decode()}") for title, data in images.items()
    ]
    return _ENVIRONMENT.get_template(template).render(**values, version=__version__, images=inside)
