"""Sessions of a run: compiled once over its days, kept in its manifest, taken from there by proofs.

A backtest's days are those of its recording, with one before and behind; a live run's are a week
back and four hundred days ahead. Never a calendar's own default range.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import structlog

from parity.core.calendars import Overlay, known_days, session_clock
from parity.model.errors import ConfigError
from parity.model.sessions import ALWAYS, SessionClock
from parity.recording.reader import open_recording
from parity.recording.runs import SESSIONS
from parity.settings.yaml import load_yaml

if TYPE_CHECKING:
    from pathlib import Path

    from parity.model.instruments import InstrumentTable
    from parity.recording.reader import Recording

_log = structlog.get_logger("parity.compose.sessions")
Overlays = Mapping[str, Overlay]  # by calendar
_DAY: Final = dt.timedelta(days=1)
_EPOCH: Final = dt.date(1970, 1, 1)
_BACK: Final = dt.timedelta(days=7)
_AHEAD: Final = dt.timedelta(days=400)


def load_overlays(path: Path | None) -> Overlays:
    """Read the file of `--sessions`, YAML or JSON; raises ConfigError naming what is wrong."""
    if path is None:
        return {}
    given = load_yaml(path).plain()
    days = given.values() if isinstance(given, dict) else [None]
    if not all(isinstance(day, dict) for day in days):
        raise ConfigError(
            f"{path}: expected a calendar, and in it days with their phases",
            cure='write {"NSE": {"2025-10-21": [["13:45", "14:45", "regular"]]}}',
        )
    return {str(name): {str(d): p for d, p in by_day.items()} for name, by_day in given.items()}


def recorded_sessions(recording: Recording, overlays: Overlays) -> dict[str, SessionClock]:
    """Return the sessions of a recording's instruments, over its days."""
    calendars = _calendars(recording.table, overlays)
    if not calendars:
        return {}
    (found,) = recording.sql("select min(ts_event), max(ts_event) from ticks").fetchall()
    if found[0] is None:
        return {name: session_clock(name, *known_days(name)) for name in calendars}
    first, last = (_EPOCH + dt.timedelta(days=int(ns) // (86_400 * 10**9)) for ns in found)
    return _compiled(calendars, first - _DAY, last + _DAY, overlays)


def live_sessions(
    table: InstrumentTable, recording: Path | None, overlays: Overlays
) -> dict[str, SessionClock]:
    """Return the sessions of a run that begins now, or reads a recording at a pace.

    A calendar that is not known for all days ahead is told in the log: behind its last day the
    phase is `unknown`, and everything is dropped.
    """
    calendars = _calendars(table, overlays)
    if not calendars:
        return {}
    if recording is not None:
        with open_recording(recording) as read:
            return recorded_sessions(read, overlays)
    today = dt.datetime.now(dt.UTC).date()
    clocks = _compiled(calendars, today - _BACK, today + _AHEAD, overlays)
    for name in calendars:
        last = known_days(name)[1]
        if last < today + _AHEAD:
            _log.warning(
                "calendar_ends",
                calendar=name,
                last_day=last.isoformat(),
                days_left=(last - today).days,
                then="phase unknown: every candidate is dropped",
                cure=f"before then begin a new run with a newer parity, or with calendar {ALWAYS}",
            )
    return clocks


def _calendars(table: InstrumentTable, overlays: Overlays) -> list[str]:
    calendars = sorted({i.calendar for i in table} - {ALWAYS})
    unused = sorted({*overlays} - {*calendars})
    if unused:
        raise ConfigError(
            f"sessions: no instrument has the calendar {unused[0]!r}",
            cure=f"calendars of the instruments are {', '.join([*calendars, ALWAYS])}",
        )
    return calendars


def _compiled(
    calendars: list[str], first: dt.date, last: dt.date, overlays: Overlays
) -> dict[str, SessionClock]:
    clocks = {}
    for name in calendars:
        begins, ends = known_days(name)
        if last < begins or first > ends:
            raise ConfigError(
                f"calendar {name}: known from {begins} to {ends}, the ticks are of {first} to "
                f"{last}",
                cure=f"let the instruments' calendar be {ALWAYS}, or upgrade parity",
            )
        days = (max(first, begins), min(last, ends))
        clocks[name] = session_clock(name, *days, overlays.get(name))
    return clocks


def kept_sessions(clocks: Mapping[str, SessionClock]) -> dict[str, Any]:
    """Return what a run's manifest keeps of them; RunFolder.sessions() reads it."""
    return {SESSIONS: [clock.to_json() for clock in clocks.values()]} if clocks else {}
