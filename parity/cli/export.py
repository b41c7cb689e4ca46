"""`parity export`: a slice of a recording or run, as a recording, Parquet or CSV."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parity.cli.console import counted, grouped, say, show, show_json, told
from parity.cli.options import (
    End,
    Json,
    Overrides,
    Start,
    StrategyFiles,
    instant,
    recording_path,
    specs_of,
    tokens_of,
)
from parity.model.errors import ConfigError

if TYPE_CHECKING:
    from parity.model.instruments import InstrumentTable

EXAMPLE = (
    "Examples:\n\n"
    "parity export recordings/demo slices/open --start 2025-01-06T09:30:00Z "
    "--end 2025-01-06T09:45:00Z --warmup 200\n\n"
    "parity export runs/first slices/first --start 2025-01-06T09:30:00Z\n\n"
    "parity export runs/first signals.csv --what signals"
)


def command(
    source: Annotated[Path, typer.Argument(metavar="REC|RUN", help="A recording or a run.")],
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="A new folder, or a new file: .parquet or .csv."),
    ],
    start: Start = None,
    end: End = None,
    tz: Annotated[
        str | None, typer.Option(metavar="ZONE", help="Zone of a --start or --end without one.")
    ] = None,
    instruments: Annotated[
        str | None, typer.Option(metavar="all|TOKEN,…", help="Instruments; all of them by default.")
    ] = None,
    warmup: Annotated[
        str | None,
        typer.Option(
            metavar="N|auto",
            help="Ticks before --start, of each instrument; auto: what the strategies need "
            "(a run's own, or --strategies). 0 by default, auto for a slice of a run.",
        ),
    ] = None,
    strategies: StrategyFiles = None,
    overrides: Overrides = None,
    what: Annotated[
        str, typer.Option(metavar="ticks|signals|decisions|fills", help="Of a run: what of it.")
    ] = "ticks",
    to: Annotated[
        str | None,
        typer.Option(metavar="recording|parquet|csv", help="The form; OUT's name tells it, too."),
    ] = None,
    times: Annotated[
        str, typer.Option(metavar="iso|ns", help="Times in Parquet and CSV, always UTC.")
    ] = "iso",
    as_json: Json = False,
) -> None:
    """Write a slice with its warm-up as a recording of its own, or rows as Parquet or CSV.

    Prices stay exact in every form. OUT must not exist; a failure leaves nothing behind.
    """
    from parity.recording.slices import Range

    start_ns, end_ns = instant(start, "--start", tz), instant(end, "--end", tz)
    if start_ns is not None and end_ns is not None and start_ns >= end_ns:
        raise ConfigError(f"--end: {end} is not after --start {start}")
    path = recording_path(source)
    tokens = tokens_of(instruments, _table(path)) if instruments is not None else None
    specs = specs_of(strategies, overrides) if strategies else []
    from parity.compose.exports import Wanted, export

    wanted = Wanted(
        range=Range(tokens or None, start_ns, end_ns),
        what=what,
        form=to or "",
        times=times,
        warm_up=_warm_up(warmup, start),
        specs=specs,
    )
    with told("export") as tell:
        report = export(path, out, wanted, tell)
    if as_json:
        show_json(report)
        return
    _show(report)


def _table(path: Path) -> InstrumentTable:
    from parity.recording.reader import open_recording
    from parity.recording.runs import RunFolder, is_run

    return open_recording(RunFolder(path).recording_path if is_run(path) else path).table


def _warm_up(text: str | None, start: str | None) -> int | str | None:
    if text is None or text == "auto":
        return text
    if not text.isdecimal():
        raise ConfigError(f"--warmup: expected a number of ticks or auto, was {text!r}")
    if start is None and int(text):
        raise ConfigError(
            "--warmup: without --start nothing lies before the slice", cure="give --start too"
        )
    return int(text)


def _show(report: dict[str, Any]) -> None:
    size = f"{grouped(report['bytes'])} bytes"
    if report["what"] == "ticks":
        warm = f" and {grouped(report['warm_up'])} of warm-up" if report["warm_up"] else ""
        first, last = report["seqs"]
        head = (
            f"{counted(report['ticks'], 'tick')}{warm} of "
            f"{counted(len(report['instruments']), 'instrument')}, seq {grouped(first)} to "
            f"{grouped(last)} of {report['source']}: {report['out']} ({size})"
        )
    else:
        head = f"{grouped(report['rows'])} {report['what']}: {report['out']} ({size})"
    show(head)
    if report["to"] != "recording":
        said = "integers of ns" if report["times"] == "ns" else "ISO 8601, nine digits"
        say(f"times: UTC, {said}", style="dim")
    else:
        say(f"look at it: parity inspect {report['out']}", style="dim")
    for warning in report["warnings"]:
        say("warning: ", warning, style="yellow")
