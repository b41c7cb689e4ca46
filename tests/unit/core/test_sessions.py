"""Sessions: days and phases of NSE and NYSE to the nanosecond, and what is dropped outside them."""

import datetime as dt
import hashlib
import importlib
import json
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.core.calendars import KNOWN, ZONES, known_sessions, rows_of, session_clock
from parity.core.engine import Engine
from parity.core.executor import ExecutorPlan
from parity.model import ticks as flag
from parity.model.effects import ApprovedSignal, DroppedSignal, Fill
from parity.model.errors import ConfigError
from parity.model.events import EventBatch
from parity.model.instruments import Instrument, InstrumentTable
from parity.model.sessions import SessionClock
from parity.model.ticks import TickBatch
from parity.model.values import MarketTick, SignalResult, StrategyConfig
from parity.proof.replayer import state_bytes
from parity.testing.generators import ONE, cut, dummy_records

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def at(calendar: str, local: str, ns: int = 0) -> int:
    """Return the instant of a local wall time, plus nanoseconds."""
    moment = dt.datetime.fromisoformat(local).replace(tzinfo=ZoneInfo(ZONES[calendar]))
    return (moment - _EPOCH) // dt.timedelta(microseconds=1) * 1000 + ns


def phase(calendar: str, local: str, ns: int = 0, overlay: Any = None) -> str:
    """Return the phase at a local wall time of 2024 to 2026."""
    clock = session_clock(calendar, dt.date(2024, 1, 1), dt.date(2026, 12, 31), overlay)
    return clock.phase(at(calendar, local, ns))


@pytest.mark.parametrize(
    ("local", "ns", "expected"),
    [
        ("2025-06-02T08:59:59.999999", 999, "closed"),
        ("2025-06-02T09:00:00", 0, "preopen"),
        ("2025-06-02T09:15:00", -1, "preopen"),
        ("2025-06-02T09:15:00", 0, "regular"),
        ("2025-06-02T12:45:00", 0, "regular"),  # NSE has no lunch break
        ("2025-06-02T15:30:00", -1, "regular"),
        ("2025-06-02T15:30:00", 0, "closed"),
        ("2025-06-02T15:40:00", 0, "closing"),
        ("2025-06-02T16:00:00", 0, "closed"),
        ("2025-06-01T11:00:00", 0, "closed"),  # a Sunday
        ("2025-10-21T11:00:00", 0, "closed"),  # Diwali
        ("2026-01-15T11:00:00", 0, "closed"),
        ("2023-12-29T11:00:00", 0, "unknown"),  # before the table
        ("2027-01-01T11:00:00", 0, "unknown"),
    ],
)
def test_nse(local: str, ns: int, expected: str) -> None:
    """Phases are half-open, to the nanosecond; holidays and weekends are closed."""
    assert expected == phase("NSE", local, ns)


@pytest.mark.parametrize(
    ("local", "ns", "expected"),
    [
        ("2025-03-07T09:30:00", 0, "regular"),  # Friday before the clocks change
        ("2025-03-07T16:00:00", -1, "regular"),
        ("2025-03-10T09:30:00", -1, "preopen"),  # Monday behind it
        ("2025-03-10T09:30:00", 0, "regular"),
        ("2025-03-10T16:00:00", 0, "closing"),
        ("2025-10-31T15:59:59", 0, "regular"),
        ("2025-11-03T09:30:00", 0, "regular"),
        ("2025-11-03T09:30:00", -1, "preopen"),
        ("2025-11-28T12:59:59", 0, "regular"),  # the day behind Thanksgiving is short
        ("2025-11-28T13:00:00", 0, "closing"),
        ("2025-11-28T17:00:00", 0, "closed"),
        ("2025-01-09T11:00:00", 0, "closed"),  # a day of mourning
        ("2026-04-03T11:00:00", 0, "closed"),  # Good Friday
        ("2026-07-03T11:00:00", 0, "closed"),  # the fourth is a Saturday
    ],
)
def test_nyse(local: str, ns: int, expected: str) -> None:
    """Local hours hold on both sides of a change of clocks; short days and holidays are known."""
    assert expected == phase("NYSE", local, ns)


def test_a_saturday_and_muhurat_come_by_an_overlay() -> None:
    """A day that stands in an overlay is as it says, a holiday by an empty list, no other moved."""
    overlay = {
        "2024-01-20": [["09:15", "10:00", "regular"]],
        "2025-10-21": [["13:30", "13:45", "preopen"], ["13:45", "14:45", "regular"]],
        "2025-06-03": [],
    }

    assert "closed" == phase("NSE", "2024-01-20T09:30:00")
    assert "regular" == phase("NSE", "2024-01-20T09:30:00", overlay=overlay)
    assert "closed" == phase("NSE", "2024-01-20T10:00:00", overlay=overlay)
    assert "regular" == phase("NSE", "2025-10-21T13:45:00", overlay=overlay)
    assert "closed" == phase("NSE", "2025-06-03T11:00:00", overlay=overlay)
    assert "regular" == phase("NSE", "2025-06-04T11:00:00", overlay=overlay)


@pytest.mark.parametrize(
    ("overlay", "words"),
    [
        ({"2025-02-30": []}, "expected a date"),
        ({"2025-06-03": [["9", "10:00", "regular"]]}, "expected HH:MM"),
        ({"2025-06-03": [["10:00", "24:30", "regular"]]}, "expected HH:MM"),
        ({"2025-06-03": [["10:00", "09:00", "regular"]]}, "10:00 to 09:00 ends before"),
        ({"2025-06-03": [["9:00", "10:00", "regular"]]}, "expected HH:MM, was '9:00'"),
        ({"2025-06-03": 5}, r"expected \[start, end, phase\], was 5"),
        ({"2025-06-03": ["10:00"]}, r"expected \[start, end, phase\], was '10:00'"),
        (
            {"2025-06-03": [["09:00", "11:00", "regular"], ["10:00", "12:00", "closing"]]},
            "lies in the one before",
        ),
        ({"2025-06-03": [["10:00", "11:00", "lunch"]]}, "'lunch' is no phase; one of preopen"),
        ({"2025-06-03": [["10:00", "11:00"]]}, "expected"),
        ({"2021-06-03": []}, "outside"),
    ],
)
def test_a_wrong_overlay_is_refused(overlay: Any, words: str) -> None:
    """What an overlay cannot mean is named, never guessed at or passed over."""
    with pytest.raises(ConfigError, match=words):
        phase("NSE", "2025-06-03T11:00:00", overlay=overlay)


def test_what_is_not_known_is_refused() -> None:
    """An unknown calendar or range is named with what is known."""
    with pytest.raises(ConfigError, match="known are 24/7, NSE"):
        session_clock("LSE", dt.date(2025, 1, 1), dt.date(2025, 1, 2))
    with pytest.raises(ConfigError, match="known from 2022-10-24 to 2026-12-31"):
        session_clock("XNSE", dt.date(2020, 1, 1), dt.date(2025, 1, 2))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # pandas', about the library's use of it
@pytest.mark.parametrize(("ours", "theirs"), [("NYSE", "XNYS"), ("NSE", "XBOM")])
def test_the_rules_agree_with_exchange_calendars(ours: str, theirs: str) -> None:
    """Every regular session of every day that is known is the library's."""
    library = importlib.import_module("exchange_calendars")  # slow, and only here
    first, last = KNOWN[ours]
    calendar = library.get_calendar(theirs, start=str(first), end=str(last))
    known = {(int(r.open.value), int(r.close.value)) for r in calendar.schedule.itertuples()}

    assert known == {(a, b) for a, b, p in rows_of(ours, first, last) if p == "regular"}


@pytest.mark.parametrize(
    ("calendar", "count", "digest"),
    [("NSE", 1029, "6b8e74e1245917c1"), ("NYSE", 3521, "8ba7a6bbe3c72df1")],
)
def test_the_known_days_are_those_that_were_compared(
    calendar: str, count: int, digest: str
) -> None:
    """The regular sessions are the ones that agreed with exchange_calendars 4.13.2."""
    rows = [(a, b) for a, b, p in rows_of(calendar, *KNOWN[calendar]) if p == "regular"]

    assert count == len(rows)
    assert digest == hashlib.blake2b(repr(rows).encode(), digest_size=8).hexdigest()


@given(st.data())
def test_edges_are_where_the_phase_changes(data: Any) -> None:
    """Up to the next edge the phase stays; behind it, it is another, as after a trip to JSON."""
    clock = session_clock("NYSE", dt.date(2025, 2, 20), dt.date(2025, 4, 1))
    ns = data.draw(st.integers(clock.start_ns, clock.end_ns - 1))
    edge = clock.next_edge(ns)
    again = SessionClock.from_json(json.loads(json.dumps(clock.to_json())))

    assert clock.phase(ns) == again.phase(ns)
    if edge is not None:
        assert ns < edge
        assert clock.phase(ns) == clock.phase(edge - 1) != clock.phase(edge)


NSE = InstrumentTable(
    [Instrument(token=ONE, symbol="INFY", price_scale=2, quantity_scale=3, calendar="NSE")]
)


class Always:
    """Says BUY at every tick."""

    def get_required_history_length(self) -> int:
        """Return 1."""
        return 1

    def supports_instrument(self, token: int) -> bool:
        """Take every instrument."""
        return True

    def get_strategy_name(self) -> str:
        """Return a name."""
        return "always"

    def process_tick(self, tick: MarketTick, history: Any) -> SignalResult:
        """Say BUY."""
        return SignalResult("BUY", 0.5, 1, tick.price)


def fates(
    times: list[int], phases: list[str] | None = None, size: int = 100, **columns: Any
) -> list[str]:
    """Return what becomes of a candidate at each tick, the engine cut and restored at `size`."""
    risk = {"risk": {"phases": phases}} if phases else {}
    config = StrategyConfig(strategy_id="s", strategy_type="always", parameters=risk)
    plans = [ExecutorPlan(config, "paper", Always)]
    sessions = known_sessions(NSE)
    records = dummy_records(len(times), ts_event=times, **columns)
    engine, effects = Engine(NSE, plans, sessions=sessions), []
    for batch in cut(EventBatch(TickBatch.from_records(records, NSE)), [size] * len(times)):
        effects += engine.process(batch)
        state = engine.snapshot()
        engine = Engine(NSE, plans, sessions=sessions)
        engine.restore(state)
        assert state_bytes(state) == state_bytes(engine.snapshot())
    return [
        "approved" if isinstance(e, ApprovedSignal) else e.reason
        for e in effects
        if isinstance(e, ApprovedSignal | DroppedSignal)
    ]


DAY = [
    at("NSE", f"2025-06-02T{clock}")
    for clock in ("08:00:00", "09:14:59", "09:15:00", "15:29:59", "15:30:00", "15:45:00")
]


@pytest.mark.parametrize("size", [1, 4, 100])
def test_signals_outside_regular_are_dropped(size: int) -> None:
    """From 09:15:00 on they pass, until just before 15:30:00; other phases by configuration."""
    out = ["session"] * 2

    assert [*out, "approved", "approved", *out] == fates(DAY, size=size)
    assert ["session", "approved", "session", "session", "session", "approved"] == fates(
        DAY, ["preopen", "closing"], size
    )


def test_a_late_tick_is_judged_at_the_time_that_was_reached() -> None:
    """The session is in the decide clock, so a late tick of the regular session is dropped."""
    assert ["session"] == fates([DAY[4], DAY[3]])[1:]


def test_halts_and_auctions_are_dropped_by_the_ticks_flags() -> None:
    """What the venue says with a tick drops in every session; an auction can be allowed."""
    flags = [flag.TRADE, flag.TRADE | flag.HALTED, flag.TRADE | flag.AUCTION]
    times = [DAY[2], DAY[2], DAY[2]]

    assert ["approved", "halted", "auction"] == fates(times, flags=flags)
    assert ["approved", "halted", "approved"] == fates(times, ["regular", "auction"], flags=flags)


def test_a_calendar_without_a_table_is_refused() -> None:
    """An engine does not start where it could not tell a session."""
    config = StrategyConfig(strategy_id="s", strategy_type="always")

    with pytest.raises(ConfigError, match="calendar 'NSE' has no table of sessions"):
        Engine(NSE, [ExecutorPlan(config, "paper", Always)])


class Once:
    """Orders once, below the market, for the day."""

    def __init__(self) -> None:
        self.calls = 0

    def get_required_history_length(self) -> int:
        """Return 1."""
        return 1

    def supports_instrument(self, token: int) -> bool:
        """Take every instrument."""
        return True

    def get_strategy_name(self) -> str:
        """Return a name."""
        return "once"

    def process_tick(self, tick: MarketTick, history: Any) -> SignalResult | None:
        """Order at the first tick."""
        self.calls += 1
        how = {"order_type": "limit", "limit_price": 90, "tif": "DAY"}
        return SignalResult("BUY", 0.5, 1, tick.price, "", how) if self.calls == 1 else None


@pytest.mark.parametrize(
    ("table", "expected"),
    [(NSE, "2025-06-02T15:30:00"), (None, "2025-06-03T05:30:00")],  # midnight UTC is 05:30 there
)
def test_a_day_order_ends_with_its_session(table: InstrumentTable | None, expected: str) -> None:
    """At 15:30:00 in local time to the nanosecond, stamped so; round the clock at midnight UTC."""
    known = table or InstrumentTable(
        [Instrument(token=ONE, symbol="INFY", price_scale=2, quantity_scale=3)]
    )
    config = StrategyConfig(strategy_id="s", strategy_type="once")
    engine = Engine(known, [ExecutorPlan(config, "paper", Once)], sessions=known_sessions(known))
    times = [DAY[2], DAY[3], at("NSE", "2025-06-03T09:15:00")]
    records = dummy_records(3, ts_event=times)
    ends = [
        (e.seq, e.ts_event, e.ordinal, e.reason)
        for e in engine.process(EventBatch(TickBatch.from_records(records, known)))
        if isinstance(e, Fill)
    ]

    assert [(3, at("NSE", expected), -1, "expired")] == ends
