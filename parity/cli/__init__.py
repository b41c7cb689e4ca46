"""The command line: one file per command, each of which parses, calls and prints.

Nothing heavy is imported before a command runs, and nothing here decides anything.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from parity.cli import (
    backtest,
    check,
    control,
    diff,
    doctor,
    export,
    golden,
    import_,
    inspect,
    live,
    new,
    paper,
    produce,
    record,
    repair,
    replay,
    report,
    status,
    verify,
)
from parity.cli.group import INTERRUPTED, Commands

__all__ = ["app", "main"]

DATA, RUN, PROVE, WRITE, OPERATE = "Data", "Run", "Prove", "Write", "Operate"
EPILOG = (
    "Exit codes: 0 ok; 1 different, nothing compared, or a strategy that fails a check; 2 usage, "
    "configuration or refused input; 3 recording or run missing or corrupt; 4 a needed service is "
    "down; 5 a strategy blocked a run, or took its memory; 70 a defect in parity; 130 interrupted; "
    "141 the reader of the output went away."
)

app = typer.Typer(
    name="parity",
    cls=Commands,
    epilog=EPILOG,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"parity {version('parity')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def parity(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Run trading strategies on market ticks, and prove that they behave the same everywhere."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


for panel, name, module in (
    (DATA, "import", import_),
    (DATA, "record", record),
    (DATA, "produce", produce),
    (DATA, "inspect", inspect),
    (DATA, "export", export),
    (DATA, "repair", repair),
    (RUN, "backtest", backtest),
    (RUN, "paper", paper),
    (RUN, "live", live),
    (PROVE, "verify", verify),
    (PROVE, "replay", replay),
    (PROVE, "diff", diff),
    (PROVE, "golden", golden),
    (WRITE, "check", check),
    (WRITE, "new", new),
    (OPERATE, "status", status),
    (OPERATE, "control", control),
    (OPERATE, "report", report),
    (OPERATE, "doctor", doctor),
):
    app.command(name, rich_help_panel=panel, epilog=module.EXAMPLE)(module.command)


def main() -> None:
    """Run the command line of this process and end with its exit code."""
    try:
        app(args=sys.argv[1:], prog_name="parity")
    except KeyboardInterrupt:  # before a command runs, or behind it
        sys.exit(INTERRUPTED)
