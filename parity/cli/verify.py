"""`parity verify`: a run's recording gives the run again, bit for bit, or not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from parity.cli.console import counted, say, say_error, show, show_json
from parity.cli.group import INTERRUPTED
from parity.cli.options import Json
from parity.model.errors import ConfigError, ParityError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.panel import Panel

    from parity.proof.diff import Divergence
    from parity.proof.replayer import Verdict

EXAMPLE = (
    "Examples:\n\nparity verify runs/first\n\nparity verify runs/first --strict --json\n\n"
    "parity verify runs/*\n\nparity verify runs/today --watch"
)
WATCH_S = 1.0  # between two looks at a live run
_COUNTED = {
    "ticks": "tick",
    "strategies": "strategy",
    "candidates": "candidate",
    "signals": "signal",
    "fills": "fill",
    "checkpoints": "checkpoint",
    "deliveries": "delivery",
    "fill_deliveries": "fill delivery",
    "dead": "dead letter",
    "fill_dead": "dead fill",
}


def command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", help="The runs to prove.")],
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="End with 1 where code, libraries or machine are not the run's own."
        ),
    ] = False,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch", help="Go on beside a live run until it ends, or the first difference."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Replay a run's recording with its own strategies and compare everything it decided.

    Exit code 0 means identical; 1 different, changed or nothing compared. Of several runs each is
    proved, whatever the others come to, and the largest code is the end's. Ctrl-C ends --watch
    with what was proved, and 130.
    """
    if watch:
        if len(runs) > 1:
            raise ConfigError("--watch: it goes with one run", cure="start one for each")
        code = _watch(runs[0], strict, as_json)
    elif len(runs) == 1:
        verdict = _proved(runs[0])
        show_verdict(verdict, as_json)
        code = _code(verdict, strict)
    else:
        code = _several(runs, strict, as_json)
    if code:
        raise typer.Exit(code)


def _several(runs: Sequence[Path], strict: bool, as_json: bool) -> int:
    proved, failed, code = [], [], 0
    for run in runs:
        try:
            verdict = _proved(run)
        except ParityError as error:
            named = str(run) in error.message
            say_error(error.message if named else f"{run}: {error.message}", error.cure)
            failed.append({"run": str(run), "error": error.message, "exit_code": error.exit_code})
            code = max(code, error.exit_code)
            continue
        proved.append(verdict)
        code = max(code, _code(verdict, strict))
        if not as_json:
            show_verdict(verdict, False, head=f"{run} ")
    same = sum(one.verdict == "identical" for one in proved)
    if as_json:
        runs_json = [one.to_json() for one in proved]
        show_json({"format": 1, "identical": same, "runs": runs_json, "failed": failed})
    else:
        show(f"{same} of {counted(len(runs), 'run')} identical")
    return code


def _watch(run: Path, strict: bool, as_json: bool) -> int:
    import time

    from parity.cli.interrupts import heard
    from parity.compose.verdicts import keep_verdict
    from parity.compose.watching import watched

    verdict: Verdict | None = None
    code = 0
    try:
        for verdict in watched(run, lambda: time.sleep(WATCH_S)):
            keep_verdict(run, verdict)
            say(f"{verdict.verdict}: ", f"{covered_words(verdict.covered)} so far")
    except KeyboardInterrupt as stopped:
        heard(stopped)
        code = INTERRUPTED
        say("interrupted", "" if verdict else ": nothing was proved yet", style="yellow")
    if verdict is None:
        return code
    show_verdict(verdict, as_json)
    return code or _code(verdict, strict)


def _proved(run: Path) -> Verdict:
    from parity.compose.verdicts import proved

    return proved(run)


def _code(verdict: Verdict, strict: bool) -> int:
    return int(verdict.verdict != "identical" or (strict and bool(verdict.changed)))


def show_verdict(verdict: Verdict, as_json: bool, *, head: str = "") -> None:
    """Show a verdict with what it covered, and the first place where the runs part.

    Args:
        verdict: what a proof came to.
        as_json: as one object.
        head: words before it and its notes, where there are several.
    """
    if as_json:
        show_json(verdict.to_json())
        return
    from rich.text import Text

    style = {"identical": "bold green", "changed": "bold yellow"}.get(verdict.verdict, "bold red")
    show(
        Text.assemble(
            head, (verdict.verdict, style), f": {covered_words(verdict.covered)} compared"
        )
    )
    if verdict.first_divergence is not None:
        show(divergence_panel(verdict.first_divergence, "the run", "its replay"))
    cause = verdict.first_divergence.cause if verdict.first_divergence is not None else ""
    for line in verdict.changed:
        if line not in cause:
            say(f"{head}changed since: ", line, style="yellow")
    for line in verdict.notes:
        say(f"{head}note: ", line)


def covered_words(covered: dict[str, int]) -> str:
    """Return what a comparison covered, as a list of counts.

    >>> covered_words({"ticks": 40000, "signals": 1})
    '40 000 ticks, 1 signal'
    >>> covered_words({"fill_deliveries": 2, "fill_dead": 2})
    '2 fill deliveries, 2 dead fills'
    """
    return ", ".join(
        counted(n, _COUNTED.get(name, name.rstrip("s"))) for name, n in covered.items()
    )


def divergence_panel(first: Divergence, a: str, b: str) -> Panel:
    """Return the first divergence as one readable block: where, which field, both values, why."""
    from rich import box
    from rich.panel import Panel
    from rich.table import Table

    from parity.recording.inspect import iso

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", overflow="fold", max_width=20)  # holds the paths of runs
    table.add_column(overflow="fold")
    if first.strategy_id:
        table.add_row("tick", f"seq {first.seq}, {iso(first.ts_event)}")
        table.add_row("instrument", str(first.instrument_token))
        table.add_row("strategy", f"{first.strategy_id} at {first.broker}")
    else:  # a state or a report is of no one tick
        table.add_row("after", f"seq {first.seq}")
    table.add_row("field", f"{first.field} of {first.stream}")
    table.add_row(a, first.a)
    table.add_row(b, first.b)
    if first.cause:
        table.add_row("cause", first.cause)
    return Panel(table, title="first divergence", title_align="left", box=box.ROUNDED, expand=False)
