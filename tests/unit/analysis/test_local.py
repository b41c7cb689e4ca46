"""Kept sessions in their exchanges' own time, held against the time zone database."""

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from parity.analysis.local import days_between, phases_text, sessions_json
from parity.core.calendars import session_clock
from parity.model.sessions import SessionClock

DAY = dt.timedelta(days=1)


def told(clock: SessionClock) -> Any:
    """Return what is told of a run that kept one calendar's sessions."""
    (one,) = sessions_json({clock.calendar: clock})
    return one


@pytest.mark.parametrize(
    ("calendar", "zone", "first", "last"),
    [
        ("NSE", "Asia/Kolkata", "2025-01-01", "2025-12-31"),
        ("XNYS", "America/New_York", "2024-01-01", "2025-12-31"),
    ],
)
def test_days_and_times_are_those_of_the_zone(
    calendar: str, zone: str, first: str, last: str
) -> None:
    """Every phase, back to an instant by the zone's own rules, is the one that was kept."""
    begins, ends = dt.date.fromisoformat(first), dt.date.fromisoformat(last)
    clock = session_clock(calendar, begins, ends)
    one = told(clock)
    rows = []
    for day in one["days"]:
        for phase in day["phases"]:
            texts = (f"{day['day']}T{phase[name]}" for name in ("start", "end"))
            local = [
                dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)) for text in texts
            ]
            assert f"UTC{day['utc_offset']}" == str(dt.timezone(local[0].utcoffset()))  # type: ignore[arg-type] # it has one
            rows.append((*(int(at.timestamp()) * 10**9 for at in local), phase["phase"]))

    assert (calendar, zone) == (one["calendar"], one["zone"])
    assert [(begins + DAY * n).isoformat() for n in range((ends - begins).days + 1)] == [
        day["day"] for day in one["days"]
    ]
    assert list(clock.rows) == rows


def test_an_overlays_whole_day_stays_on_its_day() -> None:
    """Muhurat in the evening, and a day open from midnight to midnight; the rest is closed."""
    overlay = {
        "2025-06-02": [("00:00", "24:00", "regular")],
        "2025-06-03": [],
    }
    clock = session_clock("NYSE", dt.date(2025, 6, 1), dt.date(2025, 6, 4), overlay)
    shown = {day["day"]: phases_text(day) for day in told(clock)["days"]}

    assert {
        "2025-06-01": "closed",
        "2025-06-02": "regular 00:00 to 24:00",
        "2025-06-03": "closed",
        "2025-06-04": "preopen 04:00 to 09:30, regular 09:30 to 16:00, closing 16:00 to 20:00",
    } == shown


def test_a_calendar_that_is_not_known_is_told_in_utc() -> None:
    """Another version may have kept it; instants it never had wrong."""
    day = 86_400 * 10**9
    one = told(SessionClock("MARS", 0, day, [(3_600 * 10**9, 2 * 3_600 * 10**9, "regular")]))

    assert "UTC" == one["zone"]
    assert ["regular 01:00 to 02:00"] == [phases_text(d) for d in one["days"]]


@pytest.mark.parametrize(
    ("calendar", "first", "last", "days"),
    [
        ("NSE", "2025-06-02T18:29:59", "2025-06-02T18:29:59", ["2025-06-02"]),
        ("NSE", "2025-06-02T18:29:59", "2025-06-02T18:30:00", ["2025-06-02", "2025-06-03"]),
        ("XNYS", "2025-06-03T03:59:59", "2025-06-03T04:00:00", ["2025-06-02", "2025-06-03"]),
        ("NYSE", "2025-07-01T00:00:00", "2025-07-01T00:00:00", []),
    ],
)
def test_days_of_ticks_are_those_of_the_exchange(
    calendar: str, first: str, last: str, days: list[str]
) -> None:
    """From midnight to midnight there, both ends in; outside of the table there is none."""
    clock = session_clock(calendar, dt.date(2025, 6, 1), dt.date(2025, 6, 5))
    span = [
        int(dt.datetime.fromisoformat(f"{text}Z").timestamp()) * 10**9 for text in (first, last)
    ]

    assert days == [day["day"] for day in days_between(told(clock), span[0], span[1])]
