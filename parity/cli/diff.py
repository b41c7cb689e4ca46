"""`parity diff`: where two runs first part, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from parity.cli.console import say, show, show_json
from parity.cli.options import Json

EXAMPLE = (
    "Examples:\n\nparity diff runs/first runs/second\n\nparity diff runs/first runs/second --json"
)


def command(
    a: Annotated[Path, typer.Argument(metavar="A", help="A run.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="The run to compare it with.")],
    as_json: Json = False,
) -> None:
    """Compare two runs record by record; name the first tick, strategy and field that differ.

    Exit code 0 means the same; 1 different or nothing compared.
    """
    from parity.compose.proofs import diff

    found = diff(a, b)
    if as_json:
        show_json(found.to_json())
    else:
        from rich.text import Text

        from parity.cli.verify import covered_words, divergence_panel

        word, style = ("same", "bold green") if found.same else ("different", "bold red")
        show(Text.assemble((word, style), f": {covered_words(found.covered)} compared"))
        if found.first_divergence is not None:
            show(divergence_panel(found.first_divergence, f"A {a}", f"B {b}"))
        cause = found.first_divergence.cause if found.first_divergence is not None else ""
        for line in found.changed:
            if line not in cause:
                say("changed: ", line, style="yellow")
    if not found.same:
        raise typer.Exit(1)
