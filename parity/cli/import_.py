"""`parity import`: files of ticks become a sealed recording, exactly, or nothing at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parity.cli.console import counted, grouped, say, show, show_json, table_of, told
from parity.cli.options import Json

# As parity.sources.importers.FORMATS has them: help must not load what reads them.
FORMATS = (
    "auto", "binance-spot", "binance-um", "binance-cm", "tardis", "databento", "nautilus",
    "freqtrade", "kite",
    "csv", "parquet", "parity",
)  # fmt: skip

if TYPE_CHECKING:
    from rich.table import Table

    from parity.sources.importers import ImportReport

EXAMPLE = (
    "Examples:\n\n"
    "parity import BTCUSDT-trades-2025-06-01.zip recordings/btc\n\n"
    "parity import BTCUSDT-trades-2025-06-02.zip recordings/btc --append\n\n"
    "parity import ticks.csv recordings/nse --map price=ltp,quantity=qty,ts_event=time "
    "--tz Asia/Kolkata"
)


def command(
    sources: Annotated[
        list[str], typer.Argument(metavar="SRC…", help="Files, folders or globs, in this order.")
    ],
    recording: Annotated[Path, typer.Argument(metavar="REC", help="Folder of the recording.")],
    format: Annotated[str, typer.Option(metavar="NAME", help=f"{', '.join(FORMATS)}.")] = "auto",
    map: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN=NAME,…",
            help="CSV columns: price=px, by number quantity=#4, or a constant "
            "instrument_token==900001.",
        ),
    ] = None,
    tz: Annotated[
        str | None,
        typer.Option(metavar="ZONE", help="Zone of times that carry none; else those are refused."),
    ] = None,
    order: Annotated[
        str | None,
        typer.Option(
            metavar="ts_event|ts_recv",
            help="What seq follows; ts_recv where every row has one, else ts_event.",
        ),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            metavar="id", help="Put each file's rows in the order of their trade ids first."
        ),
    ] = None,
    append: Annotated[
        bool, typer.Option("--append", help="Add later ticks to a recording that an import made.")
    ] = False,
    instrument_table: Annotated[
        Path | None,
        typer.Option(
            metavar="JSON|REC",
            help="Instruments and their scales: a JSON file, or a recording that has them.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Import files of ticks into a recording; what would have to be guessed at is refused."""
    from parity.sources.importers import import_ticks

    before = _manifest(recording)
    try:
        with told("import") as tell:
            report = import_ticks(
                sources,
                recording,
                format=format,
                map=map,
                tz=tz,
                order=order,
                sort=sort,
                append=append,
                instrument_table=instrument_table,
                progress=tell,
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_left(recording, before)) from None
    if as_json:
        show_json(report.to_json())
        return
    _show(report)


def _manifest(recording: Path) -> bytes | None:
    file = recording / "manifest.json"
    return file.read_bytes() if file.is_file() else None


def _left(recording: Path, before: bytes | None) -> str:
    """Say what an interrupted import left, and what to do."""
    if _manifest(recording) != before:  # the manifest comes last
        return f"{recording} is whole, the import had just ended; see parity inspect {recording}"
    state = "does not exist" if before is None else "is as it was"
    return f"{recording} {state}; to import, give the same command again"


def _show(report: ImportReport) -> None:
    show(_table(report.files))
    ticks, instruments = (
        counted(report.ticks, "tick"),
        counted(len(report.instruments), "instrument"),
    )
    show(f"{ticks} of {instruments} in {report.order} order: {report.recording}")
    for warning in report.warnings:
        say("warning: ", warning, style="yellow")


def _table(files: list[dict[str, Any]]) -> Table:
    table = table_of("file", "format", "ticks", right=("ticks",))
    for file in files:
        table.add_row(str(file["path"]), file["format"], grouped(file["rows"]))
    return table
