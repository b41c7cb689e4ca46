"""The sessions a run decided with, in their exchanges' own time: the one place where it is shown.

Everything else is UTC. Never here: which days are trading days; what was kept is shown.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any, Final

from parity.core.calendars import local_zone, midnight_ns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from parity.model.sessions import SessionClock

_EPOCH: Final = dt.date(1970, 1, 1)
_MINUTE_NS: Final = 60 * 10**9
_DAY_NS: Final = 1_440 * _MINUTE_NS


def sessions_json(clocks: Mapping[str, SessionClock]) -> list[dict[str, Any]]:
    """Return the kept sessions of a run by calendar and day, in local time."""
    return [
        {
            "calendar": clock.calendar,
            "zone": local_zone(clock.calendar, _EPOCH)[0],
            "days": list(_days(clock)),
        }
        for clock in clocks.values()
    ]


def phases_text(day: Mapping[str, Any]) -> str:
    """Return the phases of one of these days as words."""
    words = [f"{one['phase']} {one['start']} to {one['end']}" for one in day["phases"]]
    return ", ".join(words) or "closed"


def days_between(session: Mapping[str, Any], first_ns: int, last_ns: int) -> list[dict[str, Any]]:
    """Return those of its days that lie between two instants, their own days included."""
    first, last = (_local_day(session["calendar"], ns).isoformat() for ns in (first_ns, last_ns))
    return [day for day in session["days"] if first <= day["day"] <= last]


def _local_day(calendar: str, ns: int) -> dt.date:
    # No zone is a day from UTC's.
    day = _EPOCH + dt.timedelta(days=ns // _DAY_NS + 1)
    while midnight_ns(calendar, day) > ns:
        day -= dt.timedelta(days=1)
    return day


def _days(clock: SessionClock) -> Iterator[dict[str, Any]]:
    # A table begins at a midnight of its zone, which is less than half a day from UTC's.
    day = _EPOCH + dt.timedelta(days=(clock.start_ns + _DAY_NS // 2) // _DAY_NS)
    midnight, at = midnight_ns(clock.calendar, day), 0
    while midnight < clock.end_ns:
        tomorrow = midnight_ns(clock.calendar, day + dt.timedelta(days=1))
        phases = []
        while at < len(clock.rows) and clock.rows[at][0] < tomorrow:
            begins, ends, phase = clock.rows[at]
            start, end = _of_day(begins - midnight), _of_day(ends - midnight)
            phases.append({"phase": phase, "start": start, "end": end})
            at += 1
        offset = _offset(local_zone(clock.calendar, day)[1])
        yield {"day": day.isoformat(), "utc_offset": offset, "phases": phases}
        midnight, day = tomorrow, day + dt.timedelta(days=1)


def _offset(minutes: int) -> str:
    hours, rest = divmod(abs(minutes), 60)
    return f"{'-' if minutes < 0 else '+'}{hours:02d}:{rest:02d}"


def _of_day(ns: int) -> str:
    hours, minutes = divmod(ns // _MINUTE_NS, 60)
    return f"{hours:02d}:{minutes:02d}"
