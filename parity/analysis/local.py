"""The sessions a run decided with, in their exchanges' own time: the one place where it is shown.

Everything else is UTC. Never here: which days are trading days; what was kept is shown.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Final

from parity.core.calendars import local_zone
from parity.model.sessions import SessionClock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from parity.recording.runs import RunManifest

_EPOCH: Final = dt.date(1970, 1, 1)
_MINUTE_NS: Final = 60 * 10**9
_DAY_NS: Final = 1_440 * _MINUTE_NS


def sessions_json(manifest: RunManifest) -> list[dict[str, Any]]:
    """Return the kept sessions of a run by calendar and day, in local time; none is 24/7."""
    clocks = [SessionClock.from_json(kept) for kept in manifest.settings.get("sessions", ())]
    return [
        {
            "calendar": clock.calendar,
            "zone": local_zone(clock.calendar, _EPOCH)[0],
            "days": list(_days(clock)),
        }
        for clock in clocks
    ]


def phases_text(day: Mapping[str, Any]) -> str:
    """Return the phases of one of these days as words."""
    words = [f"{one['phase']} {one['start']} to {one['end']}" for one in day["phases"]]
    return ", ".join(words) or "closed"


def _days(clock: SessionClock) -> Iterator[dict[str, Any]]:
    # A table begins at a midnight of its zone, which is less than half a day from UTC's.
    day = _EPOCH + dt.timedelta(days=(clock.start_ns + _DAY_NS // 2) // _DAY_NS)
    rows = list(clock.rows)
    while (midnight := _midnight_ns(clock.calendar, day)) < clock.end_ns:
        tomorrow = _midnight_ns(clock.calendar, day + dt.timedelta(days=1))
        own = [row for row in rows if midnight <= row[0] < tomorrow]
        yield {
            "day": day.isoformat(),
            "utc_offset": _offset(local_zone(clock.calendar, day)[1]),
            "phases": [
                {"phase": phase, "start": _of_day(a - midnight), "end": _of_day(b - midnight)}
                for a, b, phase in own
            ],
        }
        rows, day = rows[len(own) :], day + dt.timedelta(days=1)


def _midnight_ns(calendar: str, day: dt.date) -> int:
    return (day - _EPOCH).days * _DAY_NS - local_zone(calendar, day)[1] * _MINUTE_NS


def _offset(minutes: int) -> str:
    hours, rest = divmod(abs(minutes), 60)
    return f"{'-' if minutes < 0 else '+'}{hours:02d}:{rest:02d}"


def _of_day(ns: int) -> str:
    hours, minutes = divmod(ns // _MINUTE_NS, 60)
    return f"{hours:02d}:{minutes:02d}"
