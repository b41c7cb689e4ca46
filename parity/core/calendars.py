"""Trading days of exchanges by rule: which days, which phases, as rows of instants.

Rules of our own, not a calendar library's default range: a range is asked for, and one that is not
known is refused. Pure arithmetic on dates; nothing here asks which day it is.
Sources: NSE's holiday circulars as XBOM has them; NYSE's published holidays and early closings.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from parity.model.errors import ConfigError
from parity.model.sessions import ALWAYS, CLOSING, PHASES, PREOPEN, REGULAR, Row, SessionClock

if TYPE_CHECKING:
    from parity.model.instruments import InstrumentTable

_CLOCK: Final = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00")
_NS: Final = 1_000_000_000
_DAY: Final = dt.timedelta(days=1)
_EPOCH: Final = dt.date(1970, 1, 1)
ALIASES: Final[dict[str, str]] = {"XNSE": "NSE", "XNYS": "NYSE", "XNAS": "NYSE", "US": "NYSE"}

Phases = Sequence[tuple[str, str, str]]  # (start, end, phase) of a day in local time, HH:MM
Overlay = Mapping[str, Phases]  # by date, YYYY-MM-DD; no phases: a holiday

NSE_DAY: Final[Phases] = (
    ("09:00", "09:15", PREOPEN), ("09:15", "15:30", REGULAR), ("15:40", "16:00", CLOSING),
)  # fmt: skip
NYSE_DAY: Final[Phases] = (
    ("04:00", "09:30", PREOPEN), ("09:30", "16:00", REGULAR), ("16:00", "20:00", CLOSING),
)  # fmt: skip
NYSE_SHORT: Final[Phases] = (
    ("04:00", "09:30", PREOPEN), ("09:30", "13:00", REGULAR), ("13:00", "17:00", CLOSING),
)  # fmt: skip
# First and last day that is known. Muhurat hours and Saturday sessions come by an overlay.
KNOWN: Final[dict[str, tuple[dt.date, dt.date]]] = {
    "NSE": (dt.date(2022, 10, 24), dt.date(2026, 12, 31)),
    "NYSE": (dt.date(2013, 1, 1), dt.date(2026, 12, 31)),
}
ZONES: Final[dict[str, str]] = {"NSE": "Asia/Kolkata", "NYSE": "America/New_York"}
_NSE_HOLIDAYS: Final = {
    2022: "10-24 10-26 11-08",
    2023: "01-26 03-07 03-30 04-04 04-07 04-14 05-01 06-29 08-15 09-19 10-02 10-24 11-14 11-27 "
    "12-25",
    2024: "01-22 01-26 03-08 03-25 03-29 04-11 04-17 05-01 05-20 06-17 07-17 08-15 10-02 11-01 "
    "11-15 11-20 12-25",
    2025: "02-26 03-14 03-31 04-10 04-14 04-18 05-01 08-15 08-27 10-02 10-21 10-22 11-05 12-25",
    2026: "01-15 01-26 03-03 03-26 03-31 04-03 04-14 05-01 05-28 06-26 09-14 10-02 10-20 11-10 "
    "11-24 12-25",
}
_NSE_CLOSED: Final = frozenset(
    dt.date.fromisoformat(f"{year}-{day}")
    for year, days in _NSE_HOLIDAYS.items()
    for day in days.split()
)
# Days of mourning for presidents.
_NYSE_ONCE: Final = frozenset({dt.date(2018, 12, 5), dt.date(2025, 1, 9)})


def known_days(calendar: str) -> tuple[dt.date, dt.date]:
    """Return the first and last day known of a calendar; raises ConfigError where none is."""
    name = ALIASES.get(calendar, calendar)
    if name not in KNOWN:
        raise ConfigError(
            f"calendar {calendar!r} is not known",
            cure=f"known are {', '.join((ALWAYS, *KNOWN, *ALIASES))}; mend the instrument table",
        )
    return KNOWN[name]


def local_zone(calendar: str, day: dt.date) -> tuple[str, int]:
    """Return the zone of a calendar and its minutes from UTC at a day's trading hours.

    A calendar that is not known, as a later version may have kept it, is told in UTC.
    """
    name = ALIASES.get(calendar, calendar)
    if name not in ZONES:
        return "UTC", 0
    return ZONES[name], 330 if name == "NSE" else -240 if _summer(day) else -300


def check_calendars(table: InstrumentTable) -> None:
    """Refuse a new instrument table that names a calendar which is not known; ConfigError."""
    for instrument in table:
        if instrument.calendar != ALWAYS:
            try:
                known_days(instrument.calendar)
            except ConfigError as error:
                where = f"instrument {instrument.token} ({instrument.symbol})"
                raise ConfigError(f"{where}: {error.message}", cure=error.cure) from None


def rows_of(
    calendar: str, first: dt.date, last: dt.date, overlay: Overlay | None = None
) -> list[Row]:
    """Return the phases of every day from `first` to `last`, as (start_ns, end_ns, phase).

    Args:
        calendar: NSE or NYSE, or an alias.
        first: first day.
        last: last day.
        overlay: days that are otherwise than the rules say, in local time.

    Raises:
        ConfigError: the calendar or the range is not known, or the overlay is wrong.
    """
    name = ALIASES.get(calendar, calendar)
    begins, ends = known_days(calendar)
    if first < begins or last > ends:
        raise ConfigError(
            f"calendar {calendar}: known from {begins} to {ends}, asked for {first} to {last}",
            cure="choose a range inside, or upgrade parity",
        )
    given = _checked(calendar, overlay or {}, begins, ends)
    rows: list[Row] = []
    for day in _days(first, last):
        phases = given.get(day.isoformat())
        if phases is None:
            phases = _nse(day) if name == "NSE" else _nyse(day)
        midnight = midnight_ns(name, day)
        rows += [(midnight + _of_day(a), midnight + _of_day(b), phase) for a, b, phase in phases]
    return rows


def session_clock(
    calendar: str, first: dt.date, last: dt.date, overlay: Overlay | None = None
) -> SessionClock:
    """Return the sessions of a calendar over whole days; arguments and errors as for rows_of()."""
    rows = rows_of(calendar, first, last, overlay)
    name = ALIASES.get(calendar, calendar)
    begins, ends = midnight_ns(name, first), midnight_ns(name, last + _DAY)
    return SessionClock(calendar, begins, ends, rows)


def known_sessions(table: InstrumentTable) -> dict[str, SessionClock]:
    """Return the sessions of a table's calendars, over all days that are known of each."""
    names = {i.calendar for i in table} - {ALWAYS}
    found: dict[str, SessionClock] = {}
    for name in sorted(names):
        found[name] = session_clock(name, *known_days(name))
    return found


def _days(first: dt.date, last: dt.date) -> Iterator[dt.date]:
    day = first
    while day <= last:
        yield day
        day += _DAY


def _checked(calendar: str, overlay: Overlay, first: dt.date, last: dt.date) -> Overlay:
    """Return an overlay that can be meant: days that are known, phases apart and in order."""
    for day, phases in overlay.items():
        where = f"calendar {calendar}: overlay of {day}"
        try:
            date = dt.date.fromisoformat(day)
        except (TypeError, ValueError):
            raise ConfigError(f"{where}: expected a date, YYYY-MM-DD") from None
        if not first <= date <= last:
            raise ConfigError(f"{where}: it lies outside what is known, {first} to {last}")
        _check_day(where, phases)
    return overlay


def _check_day(where: str, phases: object) -> None:
    before = ""
    for phase in phases if isinstance(phases, list | tuple) else (phases,):
        texts = isinstance(phase, list | tuple) and all(isinstance(p, str) for p in phase)
        if not texts or len(phase) != 3:
            raise ConfigError(
                f"{where}: expected [start, end, phase], was {phase!r}",
                cure='for example [["13:45", "14:45", "regular"]]; [] is a holiday',
            )
        start, end, word = phase
        for clock in (start, end):
            if not _CLOCK.fullmatch(clock):
                raise ConfigError(f"{where}: expected HH:MM, was {clock!r}")
        if word not in PHASES:
            raise ConfigError(f"{where}: {word!r} is no phase", cure=f"one of {', '.join(PHASES)}")
        if not before <= start < end:
            raise ConfigError(
                f"{where}: {start} to {end} ends before it begins, or lies in the one before",
                cure="write the phases one behind the other",
            )
        before = end


def _of_day(clock: str) -> int:
    return (int(clock[:2]) * 60 + int(clock[3:])) * 60 * _NS


def midnight_ns(name: str, day: dt.date) -> int:
    """Return the instant from which the local times of a day count; no phase spans a change."""
    return ((day - _EPOCH).days * 86_400 - local_zone(name, day)[1] * 60) * _NS


def _summer(day: dt.date) -> bool:
    """Say whether daylight saving time holds in New York at the day's trading hours."""
    return _nth(day.year, 3, 6, 2) <= day < _nth(day.year, 11, 6, 1)


def _nse(day: dt.date) -> Phases:
    return () if day.weekday() >= 5 or day in _NSE_CLOSED else NSE_DAY


def _nyse(day: dt.date) -> Phases:
    if day.weekday() >= 5 or day in _NYSE_ONCE or day in _nyse_holidays(day.year):
        return ()
    return NYSE_SHORT if _is_short(day) else NYSE_DAY


def _is_short(day: dt.date) -> bool:
    if (day.month, day.day) in ((7, 3), (12, 24)):
        return day.weekday() < 4  # before a Saturday the holiday itself is on Friday
    return day == _nth(day.year, 11, 3, 4) + _DAY


def _nyse_holidays(year: int) -> set[dt.date]:
    fixed = [dt.date(year, 7, 4), dt.date(year, 12, 25)]
    if year >= 2022:
        fixed.append(dt.date(year, 6, 19))
    holidays = {_observed(day) for day in fixed}
    new_year = dt.date(year, 1, 1)
    holidays.add(new_year + _DAY if new_year.weekday() == 6 else new_year)  # Saturday: none
    holidays |= {_nth(year, 1, 0, 3), _nth(year, 2, 0, 3), _nth(year, 9, 0, 1)}
    holidays |= {_nth(year, 11, 3, 4), _easter(year) - 2 * _DAY}
    last_may = dt.date(year, 5, 31)
    holidays.add(last_may - last_may.weekday() * _DAY)
    return holidays


def _observed(day: dt.date) -> dt.date:
    return day + {5: -1, 6: 1}.get(day.weekday(), 0) * _DAY


def _nth(year: int, month: int, weekday: int, number: int) -> dt.date:
    first = dt.date(year, month, 1)
    return first + ((weekday - first.weekday()) % 7 + 7 * (number - 1)) * _DAY


def _easter(year: int) -> dt.date:
    """Return Easter Sunday, by the anonymous Gregorian algorithm."""
    century = year // 100
    moon = (19 * (year % 19) + century - century // 4 - (8 * century + 13) // 25 + 15) % 30
    moon -= (moon // 28) * (1 - (moon // 28) * (29 // (moon + 1)) * ((21 - year % 19) // 11))
    weekday = (year + year // 4 + moon + 2 - century + century // 4) % 7
    ahead = moon - weekday
    month = 3 + (ahead + 40) // 44
    return dt.date(year, month, ahead + 28 - 31 * (month // 4))
