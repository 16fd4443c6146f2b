"""`selfie score`: which of these responses a policy prefers, by weights on this machine or by a scorer."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from selfie.cli.arguments import Output, check_output
from selfie.cli.failures import told_to_people


def score(  # noqa: PLR0913 - each is a flag
    response: Annotated[list[str], typer.Option(help="A response to score; give one or more.")],
    prompt: Annotated[str | None, typer.Option(help="What a user has said.")] = None,
    messages: Annotated[
        Path | None, typer.Option(help="Or a chat: a JSON file of [{role, content}, …].", dir_okay=False)
    ] = None,
    policy: Annotated[str | None, typer.Option(help="The policy: a directory or URI.")] = None,
    reference: Annotated[str | None, typer.Option(help="The reference: a directory or URI.")] = None,
    address: Annotated[str | None, typer.Option(help="Or a scorer, as HOST:PORT.")] = None,
    token_file: Annotated[Path | None, typer.Option(help="File with the token to show it.")] = None,
    tls_authorities: Annotated[
        Path | None, typer.Option(help="Speak TLS, and trust who is in this PEM file.")
    ] = None,
    beta: Annotated[float | None, typer.Option(help="Scale of rewards.")] = None,
    normalization: Annotated[str | None, typer.Option(help="sum or mean.")] = None,
    lambdas: Annotated[
        list[float] | None, typer.Option("--lambda", help="Extrapolate by it too; may be repeated.")
    ] = None,
    truncation: Annotated[str | None, typer.Option(help="fail, prompt_start or response_end.")] = None,
    tie_margin: Annotated[float | None, typer.Option(help="Margins up to this are ties.")] = None,
    precision: Annotated[str | None, typer.Option(help="exact, balanced, fast or auto.")] = None,
    device: Annotated[str, typer.Option(help="Device of the weights, for example cuda:0.")] = "cpu",
    output: Output = "text",
) -> None:
    """Rank responses by how much a policy prefers them over its reference."""
    # What speaks to scorers is slow to import, and no other command needs it.
    from selfie.cli.scored import Place, chat_of, print_ranking, ranking_at, request_of, written

    with told_to_people():
        check_output(output)
        options = {
            "beta": beta,
            "normalization": normalization,
            "lambdas": lambdas,
            "truncation": truncation,
            "tie_margin": tie_margin,
            "precision": precision,
        }
        given = {name: value for name, value in options.items() if value is not None}
        request = request_of(chat_of(prompt, messages), response, given)
        answer = ranking_at(Place(address, token_file, tls_authorities, policy, reference, device), request)
        if output == "json":
            sys.stdout.write(written(answer))
        else:
            print_ranking(Console(), answer, response)
