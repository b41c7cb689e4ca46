"""Where words go: data on stdout, everything said about it on stderr.

Never here: what is said. Colour follows NO_COLOR and whether a terminal is there.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress
    from rich.table import Table

WIDE_COLUMNS: Final = 100  # from here on a progress line has room for a bar
PIPE_COLUMNS: Final = 160  # a file has no width; a table cut at 80 would lose digests


class Told(Protocol):
    """Takes how many are done, of how many where that is known, and in which step of several."""

    def __call__(self, done: int, total: int | None = None, step: str = "", /) -> None:
        """Show it."""


def _console(stream: IO[str]) -> Console:
    import os

    from rich.console import Console as RichConsole

    class Console(RichConsole):
        def on_broken_pipe(self) -> None:
            raise  # rich calls this where it handles the error, and would itself exit with 1

    width = None if stream.isatty() or "COLUMNS" in os.environ else PIPE_COLUMNS
    return Console(file=stream, width=width, highlight=False, emoji=False)


def say(head: str, rest: str = "", *, style: str = "") -> None:
    """Say something on stderr; only the head is styled, and nothing is markup."""
    from rich.text import Text

    console = _console(sys.stderr)
    console.print(Text.assemble((head, style), rest), soft_wrap=True)


def show(*things: RenderableType) -> None:
    """Show data on stdout: text as it is, tables and panels as rich draws them."""
    from rich.text import Text

    console = _console(sys.stdout)
    for thing in things:
        text = Text(thing) if isinstance(thing, str) else thing
        console.print(text, soft_wrap=isinstance(text, Text))


def width() -> int:
    """Return the columns there are on stdout."""
    return _console(sys.stdout).width


def table_of(*columns: str, right: Collection[str] = ()) -> Table:
    """Return an empty table in the one style all commands have; long cells fold, none is cut."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    return table


def show_json(value: Mapping[str, Any]) -> None:
    """Write one JSON object to stdout; its first key is `format`."""
    ordered = {"format": value.get("format", 1), **value}
    sys.stdout.write(json.dumps(ordered, indent=2, ensure_ascii=False) + "\n")


@contextmanager
def told(label: str, unit: str = "ticks") -> Iterator[Told | None]:
    """Give a function, see `Told`, that keeps a progress line on a terminal's stderr.

    Yields:
        The function, or None where stderr is no terminal.
    """
    if not sys.stderr.isatty():
        yield None
        return
    progress = _progress(unit)
    task = progress.add_task(label, total=None)
    shown = ""

    def tell(done: int, total: int | None = None, step: str = "") -> None:
        nonlocal shown
        if step != shown:  # another speed, so from the start
            shown = step
            progress.reset(task, description=f"{label}, {step}" if step else label)
        progress.tasks[0].total = total  # an estimate may change; update() would forget the rate
        progress.update(task, completed=done)
        if done == 0:
            progress.refresh()

    with progress:
        yield tell


def _progress(unit: str) -> Progress:
    from rich.progress import (
        BarColumn,
        Progress,
        ProgressColumn,
        SpinnerColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        """Ticks done, a second, and the time left where the total is known."""

        def render(self, task: Task) -> Text:
            words = f"{grouped(int(task.completed))} {unit}"
            if task.speed:
                words += f", {grouped(int(task.speed))}/s"
            if task.time_remaining is not None and not task.finished:
                words += f", {_clock(task.time_remaining)} left"
            return Text(words)

    console = _console(sys.stderr)
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24 if console.width >= WIDE_COLUMNS else 8),
        Rate(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        speed_estimate_period=5,
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}"


def grouped(number: int) -> str:
    """Return a number with its thousands apart.

    >>> grouped(-1234567), grouped(12)
    ('-1 234 567', '12')
    """
    return f"{number:,}".replace(",", " ")


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "fill"), counted(40000, "tick"), counted(2, "strategy"), counted(2, "day")
    ('1 fill', '40 000 ticks', '2 strategies', '2 days')
    """
    if number != 1:
        ies = noun.endswith("y") and noun[-2] not in "aeiou"
        noun = f"{noun[:-1]}ies" if ies else f"{noun}s"
    return f"{grouped(number)} {noun}"


def say_error(message: str, cure: str) -> None:
    """Say what is wrong and how it is mended, as every command does at its end."""
    # What is quoted from a file must not steer the terminal.
    plain = "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in message)
    say("error: ", plain, style="bold red")
    if cure:
        say("  " + cure.replace("\n", "\n  "))
