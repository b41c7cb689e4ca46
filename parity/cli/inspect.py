"""`parity inspect`: what is in a recording or a run, with exact sums."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from parity.cli.console import counted, grouped, say, show, show_json, table_of, told, width
from parity.cli.options import (
    Json,
    KeepBytes,
    KeepDays,
    recording_path,
    retention_of,
    settings_of,
)
from parity.model.errors import ConfigError, RecordingCorrupt, RecordingMissing

if TYPE_CHECKING:
    from rich.table import Table

    from parity.recording.histogram import Histogram

EXAMPLE = (
    "Examples:\n\nparity inspect recordings/demo\n\nparity inspect recordings/demo --json\n\n"
    "parity inspect runs/first --at 816\n\n"
    "parity inspect recordings/demo --disk --keep-days 30"
)


def command(
    path: Annotated[Path, typer.Argument(metavar="REC|RUN", help="A recording or a run.")],
    at: Annotated[
        str | None,
        typer.Option(
            metavar="SEQ|TIME",
            help="One event with its neighbours, and what a run decided there; of a TIME the "
            "first tick at or after it.",
        ),
    ] = None,
    disk: Annotated[
        bool,
        typer.Option(
            "--disk", help="What it takes on the disk, for how long, and what would be pruned now."
        ),
    ] = False,
    keep_days: KeepDays = None,
    keep_bytes: KeepBytes = None,
    as_json: Json = False,
) -> None:
    """Show what a recording or a run holds; every file of a recording is hashed and read."""
    from parity.recording.runs import is_run

    path = recording_path(path)
    if disk and at is None:
        from parity.cli.usage import show_usage

        settings = settings_of(keep_days=keep_days, keep_bytes=keep_bytes)
        show_usage(path, retention_of(settings), as_json)
        return
    if disk or keep_days is not None or keep_bytes is not None:
        raise ConfigError(
            "--keep-days and --keep-bytes go with --disk, which goes without --at",
            cure="parity inspect REC --disk --keep-days N",
        )
    if at is not None:
        from parity.cli.moments import show_moment

        show_moment(path, at, as_json)
        return
    if is_run(path):
        _inspect_run(path, as_json)
    else:
        _inspect_recording(path, as_json)


def _inspect_recording(path: Path, as_json: bool) -> None:
    from parity.recording.holding import left_over
    from parity.recording.inspect import inspect_folder

    if not path.is_dir() and not left_over(path):
        raise RecordingMissing(
            f"{path}: no recording or run: nothing there", cure="check the path, or import one"
        )
    with told("inspect") as tell:
        found, histogram, defects = inspect_folder(path, tell)
    if as_json:
        show_json(found)
    elif histogram is None:
        _show_damaged(found)
    else:
        _show_recording(found, histogram)
    if defects:
        more = f" (and {counted(len(defects) - 1, 'defect')} more)" if len(defects) > 1 else ""
        raise RecordingCorrupt(defects[0].words + more, cure=defects[0].cure)


def _origin(origin: dict[str, Any]) -> str:
    if "begin" in origin:
        return f"the warm-up of a run, from {origin['source']}"
    return (
        f"{'decoded anew from' if 'redecoded' in origin else 'a slice of'} "
        f"recording {origin['recording_id']}, its seq "
        f"{grouped(origin['first_seq'])} to {grouped(origin['last_seq'])}"
    )


def _show_recording(found: dict[str, Any], histogram: Histogram) -> None:
    from parity.cli.histogram import histogram_of

    show(f"recording {found['path']}", "", _instruments(found), "")
    if found["origin"]:
        show(_origin(found["origin"]))
    show(
        f"{counted(found['ticks'], 'tick')}, {counted(found['gaps'], 'gap')}, {found['state']}, "
        f"in {found['order']} order",
        *_flags(found),
        *_losses(found),
        *_sizes(found["sizes"]),
        *_integrity(found["integrity"]),
    )
    if found["extensions"]:
        names = ", ".join(one["name"] for one in found["extensions"])
        show(f"extension columns: {names}")
    symbols = [one["symbol"] for one in found["instruments"]]
    show("", *histogram_of(histogram, symbols))
    for one in found["gone"]:
        say(
            f"{one['reason']}: ",
            f"seq {one['first_seq']}..{one['last_seq']}, {counted(one['events'], 'event')}, noted "
            f"{one['noted']}: {one['why']}",
            style="yellow",
        )
    for warning in found["warnings"]:
        say("warning: ", warning, style="yellow")
    for one in found["left_over"]:
        say("left over: ", f"{one}, of an import or export that did not finish", style="yellow")


def _flags(found: dict[str, Any]) -> tuple[str, ...]:
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
    return (f"flags: {flags or 'none'}; no tick has: {', '.join(absent) or '-'}",)


def _losses(found: dict[str, Any]) -> list[str]:
    lines = [
        "controls: "
        + (", ".join(f"{name} {grouped(n)}" for name, n in found["controls"].items()) or "none")
    ]
    gaps = found["gap_details"]
    if found["gaps"]:
        lines.append(
            f"gaps: {_counts(gaps['by_reason'])}; by stream {_counts(gaps['by_stream'])}; "
            f"{counted(gaps['positions'], 'position')} skipped"
        )
        largest = gaps["largest"][0]
        if largest["positions"]:
            lines.append(
                f"largest gap: {counted(largest['positions'], 'position')} of "
                f"{largest['stream']} at seq {grouped(largest['seq'])}"
            )
    if found["quarantined"]:
        details = found["quarantine_details"]
        lines.append(
            f"quarantined: {_counts(details['by_reason'])}; by stream "
            f"{_counts(details['by_stream'])}"
        )
    return lines


def _counts(counts: dict[str, int]) -> str:
    shown = [f"{name} {grouped(n)}" for name, n in list(counts.items())[:_NAMES_MAX]]
    more = len(counts) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _sizes(sizes: dict[str, Any]) -> list[str]:
    held = sizes["parts_bytes"] + sizes["journal_bytes"]
    each = f", {sizes['bytes_per_tick']} a tick" if sizes["bytes_per_tick"] is not None else ""
    lines = [
        f"{grouped(held)} bytes in {counted(sizes['parts'], 'part')}"
        f"{' and a journal' if sizes['journal_bytes'] else ''}{each}"
    ]
    columns = sizes["columns"]
    if columns:
        shown = {name: n for name, n in list(columns.items())[:_COLUMNS_SHOWN]}
        rest = sum(columns.values()) - sum(shown.values())
        words = ", ".join(f"{name} {grouped(n)}" for name, n in shown.items())
        lines.append(f"bytes by column: {words}, the others {grouped(rest)}")
    return lines


def _integrity(found: dict[str, Any]) -> list[str]:
    lines = [
        f"integrity: {counted(found['hashed_files'], 'file')} hashed, every hash holds; "
        "seq rises without a gap"
    ]
    journal = found["journal"]
    if journal["state"] != "none":
        torn = f", {grouped(journal['torn_bytes'])} torn bytes" if journal["torn_bytes"] else ""
        lines.append(
            f"journal: {journal['state']}, {counted(journal['segments'], 'segment')}, "
            f"{counted(journal['frames'], 'frame')}, {counted(journal['ticks'], 'tick')}{torn}"
        )
    if found["unlisted_files"]:
        lines.append(f"files that no manifest lists: {', '.join(found['unlisted_files'])}")
    return lines


def _show_damaged(found: dict[str, Any]) -> None:
    from rich.text import Text

    integrity = found["integrity"]
    show(
        Text.assemble(f"recording {found['path']} ", ("is damaged", "bold red")),
        f"{found['recording_id']}, {found['state']}, in {found['order']} order, "
        f"{counted(len(found['parts']), 'part')}; nothing is summed up of a damaged recording",
        "",
    )
    table = table_of("file", "seq", "what is wrong")
    for one in integrity["defects"]:
        seqs = f"{one['first_seq']}..{one['last_seq']}" if one["last_seq"] else "-"
        table.add_row(Path(one["file"]).name, seqs, one["problem"])
    show(table, "")
    journal = integrity["journal"]
    if journal["state"] != "none":
        show(
            f"journal: {journal['state']}, {counted(journal['segments'], 'segment')}, good up to "
            f"seq {grouped(journal['last_seq'])}, {grouped(journal['torn_bytes'])} torn bytes"
        )


_NAMES_MAX, _COLUMNS_SHOWN = 6, 6
_LABEL_COLUMNS, _VALUE_COLUMNS = 16, 31
_VERDICTS = ("late", "duplicate", "skewed", "catch_up", "warmup")


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
    for name in dict.fromkeys(name for cells in columns for name in cells):
        values = [cells.get(name, "-") for cells in columns]
        unsaid = name == "symbol" or (name in _VERDICTS and set(values) == {"0"})
        if not unsaid:
            table.add_row(name, *values)
    return table


def _cells(one: dict[str, Any]) -> dict[str, str]:
    from parity.recording.inspect import short_iso

    price = one["price"]
    return {
        "token": str(one["instrument_token"]),
        "symbol": one["symbol"],
        "scales": f"price {one['price_scale']}, quantity {one['quantity_scale']}",
        "ticks": grouped(one["ticks"]),
        "trades": grouped(one["trades"]),
        "first ts_event": short_iso(one["first"]),
        "last ts_event": short_iso(one["last"]),
        **({"first ts_recv": short_iso(one["first_recv"])} if one["first_recv"] else {}),
        **({"last ts_recv": short_iso(one["last_recv"])} if one["last_recv"] else {}),
        **{name: grouped(one[name]) for name in _VERDICTS},
        **{f"price {name}": price[name] or "-" for name in ("first", "last", "min", "max")},
        "quantity": one["quantity"],
        "notional": one["notional"],
        "bought": one["buy"],
        "sold": one["sell"],
        "CVD": one["cvd"],
        "CVD of notional": one["cvd_quote"],
    }


def _inspect_run(path: Path, as_json: bool) -> None:
    from parity.analysis.documents import run_json
    from parity.cli.runs import show_run
    from parity.recording.runs import RunFolder

    run = RunFolder(path)
    if as_json:
        show_json(run_json(run))
    else:
        show_run(run)
