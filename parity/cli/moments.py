"""`parity inspect --at`: one event with its neighbours, and what a run decided there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from parity.cli.console import say, show, show_json, table_of
from parity.cli.options import instant
from parity.model.values import SIDE_NAMES
from parity.recording.inspect import even_iso, iso

if TYPE_CHECKING:
    from pathlib import Path

    from rich.table import Table

_COLUMNS = ("seq", "ts_event", "symbol", "price", "quantity", "bid", "ask")


def show_moment(path: Path, at: str, as_json: bool) -> None:
    """Show what stands at a seq or an instant of a recording or run.

    Args:
        path: of a recording or a run.
        at: a seq (up to 12 digits), ns since 1970, or ISO 8601 with a zone.
        as_json: one JSON object.
    """
    from parity.compose.explain import explain
    from parity.recording.moments import events_at, seq_at
    from parity.recording.reader import open_recording
    from parity.recording.runs import RunFolder, is_run

    run = RunFolder(path) if is_run(path) else None
    with open_recording(path if run is None else run.recording_path) as recording:
        recording.check_files()
        if at.isdecimal() and len(at) <= 12:
            seq = int(at)
        else:
            seq = seq_at(recording, instant(at, "--at"))
        events = events_at(recording, seq)
        found: dict[str, Any] = {"path": str(path), "seq": seq, "events": events}
    if run is not None:
        decided = run.decided_at(seq)
        found |= explain(path, seq) if decided["decisions"] else decided
    if as_json:
        show_json(found)
        return
    _show(found)


def _show(found: dict[str, Any]) -> None:
    seq = found["seq"]
    (event,) = [one for one in found["events"] if one["seq"] == seq]
    show(f"seq {seq} of {found['path']}", "", _neighbours(found["events"], seq), "")
    table = table_of("column", "value")
    for name, value in event.items():
        if value is not None:
            table.add_row(name, _text(value))
    show(table)
    absent = [name for name, value in event.items() if value is None]
    if absent:
        show(f"it has no {', '.join(absent)}")
    if "decisions" not in found:
        return
    show("")
    if not found["decisions"]:
        show("the run decided nothing here")
    for kind in ("candidates", "decisions"):
        for row in found[kind]:
            rows = table_of(kind[:-1], f"{row['strategy_id']} at {row['broker']}")
            for name, value in row.items():
                if name not in ("seq", "strategy_id", "broker") and value not in (None, ""):
                    rows.add_row(name, _said(name, value))
            show(rows, "")
    for one in found.get("validators", ()):
        show(_asked(one), "")
    for note in found.get("notes", ()):
        say("note: ", note, style="yellow")


def _asked(one: dict[str, Any]) -> Table:
    from parity.compose.explain import values_text

    head = f"{one['strategy_id']} at {one['broker']}, {one['side']} {one['quantity']}"
    table = table_of("validator", "verdict", f"what it saw of {head}")
    for stage in one["asked"]:
        table.add_row(stage["validator"], stage["verdict"], values_text(stage["seen"]))
    for name in one["not_asked"]:
        table.add_row(name, "not asked", "")
    return table


def _neighbours(events: list[dict[str, Any]], seq: int) -> Table:
    names = [n for n in _COLUMNS if any(one.get(n) is not None for one in events)]
    table = table_of("", *names, "flags", right=("seq", "price", "quantity", "bid", "ask"))
    times = even_iso([one.get("ts_event") or one["ts_recv"] for one in events])
    for one, time in zip(events, times, strict=True):
        values = (time if name == "ts_event" else one.get(name) for name in names)
        cells = ["-" if value is None else str(value) for value in values]
        flags = [f for f in one.get("flags", ()) if not f.startswith("no_")]
        mark = ">" if one["seq"] == seq else ""
        table.add_row(mark, *cells, one["verb"] if "verb" in one else ", ".join(flags))
    return table


def _said(name: str, value: Any) -> str:
    if name == "ts_event" and isinstance(value, int):
        return iso(value)
    return SIDE_NAMES[value] if name == "side" and value in SIDE_NAMES else _text(value)


def _text(value: Any) -> str:
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        return ", ".join(value)
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, default=str)
    return str(value)
