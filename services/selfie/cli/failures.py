"""Errors as people should see them: what is wrong and what to do, without a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

from selfie.errors import InvalidInput, SelfieError
from selfie.runs.violations import InvalidRun

USAGE_ERROR = 2


@contextmanager
def told_to_people() -> Iterator[None]:
    """Prints a domain error and exits: 2 where the input is wrong, else 1."""
    try:
        yield
    except SelfieError as error:
        console = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)
        lines = (
            [str(violation) for violation in error.violations]
            if isinstance(error, InvalidRun)
            else [str(error)]
        )
        for line in lines:
            console.print("[red]error:[/]", end=" ")
            console.print(line, markup=False)
        raise typer.Exit(USAGE_ERROR if isinstance(error, InvalidInput) else 1) from error
