"""Ticks over time as text: one line a bucket, a bar for each instrument where they are few.

Empty buckets stand as empty lines, so that nights, weekends and outages show.
"""

from __future__ import annotations

import datetime as dt
import sys
from typing import TYPE_CHECKING, Final

from parity.cli.console import grouped, width

if TYPE_CHECKING:
    from parity.recording.histogram import Histogram

LINES_MAX: Final = 42
_BAR_MIN: Final = 6  # columns; narrower bars say nothing, then all instruments are one
_BLOCKS: Final = "▏▎▍▌▋▊▉█"
_UNITS: Final = (
    (86_400 * 10**9, "day"), (3600 * 10**9, "h"), (60 * 10**9, "min"), (10**9, "s"), (10**6, "ms"),
)  # fmt: skip


def histogram_of(histogram: Histogram, symbols: list[str]) -> list[str]:
    """Return the lines of a histogram that fits the terminal.

    Args:
        histogram: the counts.
        symbols: of the instruments, by dense id.
    """
    step, buckets = histogram.within(LINES_MAX)
    if not buckets:
        return []
    labels = _labels([start for start, _ in buckets], step)
    rows = [counts for _, counts in buckets]
    names = symbols if histogram.apart else ["ticks"]
    left = max(map(len, labels)) + 2
    number = len(grouped(max(map(max, rows))))
    room = (width() - left) // len(names) - number - 3
    if len(names) > 1 and room < _BAR_MIN:
        rows, names = [[sum(counts)] for counts in rows], ["ticks"]
        number = len(grouped(max(map(max, rows))))
        room = width() - left - number - 3
    room = max(room, 1)
    most = [max(max(column), 1) for column in zip(*rows, strict=True)]
    head = "".join(f"{name[: number + room]:<{number + room + 3}}" for name in names)
    lines = [f"ticks over time by ts_event, UTC, {_width_words(step)} a line"]
    if len(names) > 1:
        lines.append((" " * left + head).rstrip())
    for label, counts in zip(labels, rows, strict=True):
        cells = [
            f"{grouped(count) if count else '-':>{number}} {_bar(count, top, room):<{room}}  "
            for count, top in zip(counts, most, strict=True)
        ]
        lines.append(f"{label:<{left}}{''.join(cells)}".rstrip())
    return lines


def _bar(count: int, most: int, room: int) -> str:
    """Return a bar in eighths of a column; whatever is not zero shows."""
    if not _unicode():
        return "#" * (-(-count * room // most))
    eighths = max(count * room * 8 // most, 1 if count else 0)
    return "█" * (eighths // 8) + (_BLOCKS[eighths % 8 - 1] if eighths % 8 else "")


def _unicode() -> bool:
    return (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"


def _width_words(step: int) -> str:
    for unit, name in _UNITS:
        if step % unit == 0:
            count = step // unit
            if name == "day":
                return "a day" if count == 1 else f"{count} days"
            return f"{count} {name}"
    return f"{step} ns"


def _labels(starts: list[int], step: int) -> list[str]:
    """Return a label for each bucket: its day where a day begins, with the time where it tells."""
    days = step >= _UNITS[0][0]
    labels, before = [], ""
    for start in starts:
        moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=start // 1000)
        day = f"{moment:%Y-%m-%d %a}"
        if days:
            labels.append(day)
            continue
        time = f"{moment:%H:%M}"
        if step < _UNITS[2][0]:
            time = f"{moment:%H:%M:%S}"
        if step < _UNITS[3][0]:
            time += f".{moment.microsecond // 1000:03d}"
        labels.append(f"{day if day != before else '':<14} {time}")
        before = day
    return labels
