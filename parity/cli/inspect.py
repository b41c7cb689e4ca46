"""`parity inspect`: what is in a recording or a run, with exact sums."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parity.cli.console import counted, grouped, say, show, show_json, table_of, width
from parity.cli.options import Json, recording_path
from parity.model.errors import RecordingMissing

if TYPE_CHECKING:
    from rich.table import Table

EXAMPLE = "Examples:\n\nparity inspect recordings/demo\n\nparity inspect recordings/demo --json"


def command(
    path: Annotated[Path, typer.Argument(metavar="REC|RUN", help="A recording or a run.")],
    as_json: Json = False,
) -> None:
    """Show what a recording or a run holds; every file of a recording is hashed and read."""
    from parity.recording.runs import is_run

    path = recording_path(path)
    if is_run(path):
        _inspect_run(path, as_json)
    else:
        _inspect_recording(path, as_json)


def _inspect_recording(path: Path, as_json: bool) -> None:
    from parity.recording.inspect import inspect_recording
    from parity.recording.reader import open_recording

    if not path.is_dir():
        raise RecordingMissing(
            f"{path}: no recording or run: nothing there", cure="check the path, or import one"
        )
    recording = open_recording(path, cached=False)
    recording.check_files(always=True)
    found = inspect_recording(recording)
    if as_json:
        show_json(found)
        return
    show(f"recording {found['path']}", "", _instruments(found), "")
    absent = [
        name.removeprefix("no_")
        for name, n in found["flags"].items()
        if name.startswith("no_") and n == found["ticks"]
    ]
    flags = ", ".join(
        f"{name} {grouped(n)}"
        for name, n in found["flags"].items()
        if name.removeprefix("no_") not in absent
    )
    controls = ", ".join(f"{name} {grouped(n)}" for name, n in found["controls"].items())
    sizes = found["sizes"]
    held = sizes["parts_bytes"] + sizes["journal_bytes"]
    each = f", {sizes['bytes_per_tick']} a tick" if sizes["bytes_per_tick"] is not None else ""
    show(
        f"{counted(found['ticks'], 'tick')}, {counted(found['gaps'], 'gap')}, {found['state']}, "
        f"in {found['order']} order",
        f"flags: {flags or 'none'}; no tick has: {', '.join(absent) or '-'}",
        f"controls: {controls or 'none'}",
        f"{grouped(held)} bytes in {counted(sizes['parts'], 'part')}"
        f"{' and a journal' if sizes['journal_bytes'] else ''}{each}; every hash holds",
    )
    for warning in found["warnings"]:
        say("warning: ", warning, style="yellow")


_LABEL_COLUMNS, _VALUE_COLUMNS = 16, 26


def _instruments(found: dict[str, Any]) -> Table:
    """Return one column per instrument where they fit, else one row with what matters most."""
    instruments = found["instruments"]
    if _LABEL_COLUMNS + _VALUE_COLUMNS * len(instruments) > width():
        number = ("ticks", "price last", "quantity", "CVD")
        table = table_of("token", "symbol", *number, "last ts_event", right=number)
        for one in instruments:
            cells = _cells(one)
            names = ("token", "symbol", *number, "last ts_event")
            table.add_row(*(cells[name] for name in names))
        return table
    columns = [_cells(one) for one in instruments]
    table = table_of("", *(cells["symbol"] for cells in columns))
    for name in columns[0]:
        if name != "symbol":
            table.add_row(name, *(cells[name] for cells in columns))
    return table


def _cells(one: dict[str, Any]) -> dict[str, str]:
    price = one["price"]
    return {
        "token": str(one["instrument_token"]),
        "symbol": one["symbol"],
        "ticks": grouped(one["ticks"]),
        "trades": grouped(one["trades"]),
        "first ts_event": _short(one["first"]),
        "last ts_event": _short(one["last"]),
        **{f"price {name}": price[name] or "-" for name in ("first", "last", "min", "max")},
        "quantity": one["quantity"],
        "notional": one["notional"],
        "bought": one["buy"],
        "sold": one["sell"],
        "CVD": one["cvd"],
        "CVD of notional": one["cvd_quote"],
    }


def _short(instant: str | None) -> str:
    """Return an instant without the zeros at its end."""
    return "-" if instant is None else instant.removesuffix("Z").rstrip("0").rstrip(".") + "Z"


def _inspect_run(path: Path, as_json: bool) -> None:
    from parity.cli.runs import run_json, show_run
    from parity.recording.runs import RunFolder

    run = RunFolder(path)
    found = run_json(run)
    if as_json:
        show_json(found)
    else:
        show_run(run)
