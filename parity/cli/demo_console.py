"""How the demo speaks: steps, notes, claims that held, and the error of one that did not.

Nothing here knows what is shown.
"""

from __future__ import annotations

import sys
from typing import Final

from rich.console import Console
from rich.padding import Padding

from parity.model.errors import ParityError

COLUMNS: Final = 100

console = Console(highlight=False, width=None if sys.stdout.isatty() else COLUMNS)


class DemoFailed(ParityError):
    """A claim of the demo did not hold."""

    exit_code = 1


def step(number: int, text: str) -> None:
    """Head a step."""
    console.print(f"[bold]{number}[/bold]  {text}")


def note(text: str) -> None:
    """Say what goes on."""
    console.print(f"   {text}", style="dim", markup=False)


def held(text: str) -> None:
    """Say that a claim held."""
    console.print(Padding(f"[green]✓[/green] {text}", (0, 0, 0, 3), expand=False))


def shown(command: str, answer: str) -> None:
    """Show a command as it was typed, and what it answered."""
    console.print(f"   $ {command}", style="bold", markup=False)
    for line in answer.splitlines():
        console.print(f"     {line}".rstrip(), markup=False, soft_wrap=True)
