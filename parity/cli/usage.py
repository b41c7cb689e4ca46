"""`parity inspect --disk`: what a recording or a run takes, and what would be pruned."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from parity.cli.console import counted, grouped, say, show, show_json, table_of

if TYPE_CHECKING:
    from pathlib import Path

    from parity.recording.pruning import Retention

SHOWN: Final = 20  # segments at each end; --json has all


def show_usage(path: Path, retention: Retention, as_json: bool) -> None:
    """Show the disk usage of a recording or a run."""
    from parity.recording.usage import usage_of

    found = usage_of(path, retention, time.time_ns())
    if as_json:
        show_json(found)
        return
    show(f"{found['kind']} {found['path']}", "", *_kinds(found["bytes"]))
    kept = found if found["kind"] == "recording" else found["recording"]
    if kept is None:
        show("", f"free on its disk: {sized(found['free_bytes'])}")
        return
    show("", *_segments(kept["segments"]), *_rate(kept))
    _show_retention(kept)


def _kinds(sizes: dict[str, int]) -> list[Any]:
    table = table_of("what", "bytes", "", right=("bytes",))
    for name, size in sizes.items():
        if size or name == "total":
            table.add_row(name, grouped(size), sized(size))
    return [table]


def _segments(segments: list[dict[str, Any]]) -> list[Any]:
    from parity.recording.inspect import short_iso

    table = table_of("seq", "first", "last", "ticks", "bytes", "files", right=("ticks", "bytes"))
    left_out = max(0, len(segments) - 2 * SHOWN)
    for n, one in enumerate(segments):
        if left_out and n == SHOWN:
            table.add_row(f"… {counted(left_out, 'segment')} …", "", "", "", "", "")
        if left_out and SHOWN <= n < SHOWN + left_out:
            continue
        table.add_row(
            f"{one['first_seq']}..{one['last_seq']}",
            short_iso(one["first"]),
            short_iso(one["last"]),
            grouped(one["ticks"]),
            grouped(one["bytes"]),
            ", ".join(one["files"]) + (" (would go)" if one["would_go"] else ""),
        )
    return [table] if segments else ["no sealed segment"]


def _rate(kept: dict[str, Any]) -> list[str]:
    rate, free = kept["rate"], sized(kept["free_bytes"])
    if rate["bytes_per_day"] is None:
        return ["", f"free on its disk: {free}; too short a span for a rate"]
    lasts = rate["free_lasts_days"]
    return [
        "",
        f"{sized(rate['bytes_per_day'])} a day from {rate['first']} to {rate['last']}; "
        f"free on its disk: {free}"
        + ("" if lasts is None else f", {grouped(round(lasts))} days at that rate"),
    ]


def _show_retention(kept: dict[str, Any]) -> None:
    said = kept["retention"]
    going = said["would_prune"]
    now = "nothing would be pruned now"
    if going is not None:
        now = (
            f"{counted(going['segments'], 'segment')} would be pruned now, seq "
            f"{going['first_seq']}..{going['last_seq']}, {sized(going['bytes'])}"
        )
    show(f"retention: {said['policy']}; {now}")
    for need in said["named_by"]:
        show(f"must stay from seq {need['from_seq']} on: {need['by']}")
    for one in kept["gone"]:
        say(f"{one['reason']}: ", f"seq {one['first_seq']}..{one['last_seq']}", style="yellow")


def sized(size: float) -> str:
    """Return bytes as people say them, in powers of ten.

    >>> sized(999), sized(1_234), sized(5_600_000_000)
    ('999 B', '1.2 kB', '5.6 GB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
