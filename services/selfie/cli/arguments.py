"""Arguments and options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

from selfie.errors import InvalidInput

RunFile = Annotated[Path, typer.Argument(help="A SelfieRun as YAML.")]
Artifacts = Annotated[
    str | None,
    typer.Option(help="Folder of all runs: a path or URI. Default: spec.artifacts.uri, else ./runs."),
]
Place = Annotated[str, typer.Argument(help="A run: its file, its name below --artifacts, or its URI.")]
Output = Annotated[str, typer.Option("--output", "-o", help="text or json.")]
EngineAddress = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Sample from the server that is at this address (http://NAME:PORT), of the kind that "
        "spec.generation.engine says, in place of an engine of this run's own.",
    ),
]
EngineModel = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="Model to ask that server for, where it has several; {weights} stands for the directory of each "
        "policy's weights, for servers that load what they are asked for.",
    ),
]
EngineKeyFile = Annotated[
    Path | None, typer.Option(help="File with that server's API key.", dir_okay=False, exists=True)
]
MetricsPort = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=65535,
        help="Answer Prometheus on this port of this machine: /metrics has the run's figures, /targets lists "
        "its processes (HTTP service discovery).",
    ),
]


def check_output(output: str) -> None:
    """Raises `InvalidInput` for a form that there is not."""
    if output not in ("text", "json"):
        raise InvalidInput("--output", f"{output!r} is unknown", "use text or json")
